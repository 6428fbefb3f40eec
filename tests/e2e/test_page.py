"""The page in a real browser, whose microphone plays a recording."""

import asyncio
import re
import shutil
import wave

import numpy as np
import pytest
import soundfile
from playwright.async_api import async_playwright, expect

from perf.speech.meetings import meeting
from tests.conftest import HUMAN_SPEECH, RECORDINGS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
ENGLISH = "four two seven nine zero one five"


@pytest.fixture(scope="module")
async def browser(english, tmp_path_factory):
    spoken = tmp_path_factory.mktemp("sound") / "microphone.wav"
    pcm = np.concatenate([english, np.zeros(32_000, dtype=np.float32)])
    with wave.open(str(spoken), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.round(pcm * 32_767).astype("<i2").tobytes())
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-audio-capture={spoken}",
                "--autoplay-policy=no-user-gesture-required",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        yield launched
        await launched.close()


@pytest.fixture
async def page(browser, service):
    opened = await browser.new_page()
    problems = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    # A player leaves off reading a recording when it has enough.
    opened.on(
        "requestfailed",
        lambda request: request.failure == "net::ERR_ABORTED" or problems.append(f"{request.url} {request.failure}"),
    )
    opened.on(
        "request",
        lambda request: request.url.startswith((service.url, "blob:", "data:")) or problems.append(request.url),
    )
    await opened.goto(service.url)
    yield opened
    await opened.close()
    assert problems == []


async def test_a_caption_and_a_file_are_written_where_that_is_chosen(page):
    await expect(page.locator("#server")).to_contain_text("ready")
    await page.locator("#wording").select_option("written")
    # There is no chat endpoint here.
    assert await page.locator("#wording option").count() == 2
    await page.locator("#file").set_input_files(str(RECORDINGS / "english.flac"))
    await expect(page.locator("#transcript")).to_have_text("4279015", timeout=20_000)
    await page.get_by_role("button", name="Start the microphone").click()
    caption = page.locator("#captions li").first
    await caption.wait_for(timeout=20_000)
    assert re.search(r"\d", (await caption.inner_text()).split("\n")[-1])
    await page.get_by_role("button", name="Stop the microphone").click()
    await page.get_by_role("button", name="Start the microphone").wait_for(timeout=10_000)


async def test_the_microphone_becomes_captions(page):
    await expect(page.locator("#server")).to_contain_text("ready")
    await page.get_by_role("button", name="Start the microphone").click()
    await expect(page.locator("#unstable")).not_to_be_empty(timeout=20_000)
    caption = page.locator("#captions li").first
    await caption.wait_for(timeout=20_000)
    # The fake microphone may begin anywhere in the recording.
    heard = (await caption.inner_text()).split("\n")[-1]
    assert any(word in heard for word in ENGLISH.split())
    assert "ms after the sound" in await page.locator("#latency").inner_text()
    await page.get_by_role("button", name="Stop the microphone").click()
    await page.get_by_role("button", name="Start the microphone").wait_for(timeout=10_000)


async def test_a_file_becomes_text_segments_and_downloads(page, tmp_path):
    await page.set_input_files("#file", RECORDINGS / "english.flac")
    await expect(page.locator("#file-status")).to_contain_text("Done", timeout=20_000)
    assert await page.locator("#transcript").inner_text() == ENGLISH
    assert await page.locator("#segments li").count() >= 1
    for kind, beginning in (("txt", ENGLISH), ("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n\n00:00:0")):
        async with page.expect_download() as download:
            await page.locator(f"button[data-format={kind}]").click()
        path = tmp_path / f"english.{kind}"
        await (await download.value).save_as(path)
        assert path.read_text().startswith(beginning)
    await page.locator("#segments button").first.click()
    for _ in range(100):
        if await page.evaluate("document.getElementById('player').currentTime") > 0.3:
            break
        await asyncio.sleep(0.05)
    else:
        pytest.fail("a click on a segment does not play it")


async def test_words_are_clicked_lit_and_downloaded(page, tmp_path):
    await expect(page.locator("#server")).to_contain_text("ready")
    await page.set_input_files("#file", RECORDINGS / "english.flac")
    await expect(page.locator("#file-status")).to_contain_text("Done", timeout=20_000)
    words = page.locator("#segments .word")
    assert await words.all_inner_texts() == ENGLISH.split()
    # The third word is clicked: it plays from there, and later words are lit while they are said.
    await words.nth(2).click()
    assert await page.evaluate("document.getElementById('player').currentTime") > 0.5
    await expect(page.locator("#segments .word.lit")).to_have_count(1, timeout=5_000)
    lit = await page.evaluate(
        "new Promise(done => { const seen = new Set(); const end = performance.now() + 2500; const look = () => {"
        " const word = document.querySelector('.word.lit'); if (word) seen.add(word.textContent);"
        " if (performance.now() < end) requestAnimationFrame(look); else done([...seen]); }; look(); })"
    )
    assert len(lit) >= 2
    assert set(lit) <= set(ENGLISH.split()[2:])
    async with page.expect_download() as download:
        await page.locator("button[data-format=karaoke]").click()
    path = tmp_path / "english.karaoke.vtt"
    await (await download.value).save_as(path)
    sung = path.read_text()
    assert sung.startswith("WEBVTT\n\n00:00:0")
    assert re.sub(r"<[\d:.]+>", "", sung.split("\n")[3]) == ENGLISH
    assert len(re.findall(r"<00:00:0[\d.]+>", sung)) >= 5


async def test_words_of_captions_tell_their_times(page):
    await expect(page.locator("#server")).to_contain_text("ready")
    await page.get_by_role("button", name="Start the microphone").click()
    word = page.locator("#captions .timed").first
    await word.wait_for(timeout=30_000)
    assert re.fullmatch(r"\d+:\d\d\.\d to \d+:\d\d\.\d", await word.get_attribute("title"))
    await page.get_by_role("button", name="Stop the microphone").click()
    await page.get_by_role("button", name="Start the microphone").wait_for(timeout=10_000)


async def test_a_file_without_sound_is_told(page, tmp_path):
    (tmp_path / "notes.wav").write_bytes(b"no sound at all")
    await page.set_input_files("#file", tmp_path / "notes.wav")
    await expect(page.locator("#error")).to_contain_text("cannot be decoded")


async def test_the_page_is_usable_by_keyboard_and_reader(page):
    assert await page.locator("html").get_attribute("lang") == "en"
    names = await page.evaluate(
        "[...document.querySelectorAll('button, input, select, meter, progress')].filter(e => !e.hidden).map(e => "
        "(e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent || '').trim())"
    )
    assert all(names), names
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.id") == "language"


async def test_speakers_have_colours_and_names_that_stay_in_downloads(page, tmp_path):
    if not HUMAN_SPEECH.is_dir():
        pytest.skip(f"human speech is not at {HUMAN_SPEECH}")
    talk = tmp_path / "talk.wav"
    soundfile.write(talk, meeting(2, 8, 6).pcm, 16_000)
    await expect(page.locator("#server")).to_contain_text("ready")
    await page.set_input_files("#file", talk)
    await expect(page.locator("#file-status")).to_contain_text("Done", timeout=30_000)
    tags = page.locator("#segments .speaker")
    assert await tags.count() >= 4
    names = await tags.all_inner_texts()
    assert {"A", "B"} <= set(names)
    colours = {
        name: await tags.nth(names.index(name)).evaluate("tag => getComputedStyle(tag).backgroundColor")
        for name in "AB"
    }
    assert colours["A"] != colours["B"]
    await tags.nth(names.index("A")).click()
    await page.get_by_label("Name of speaker A").fill("Anna <&>")
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Name of speaker A")).to_have_count(0)
    assert await tags.all_inner_texts() == ["Anna <&>" if name == "A" else name for name in names]
    for form, said in (("srt", "\nAnna <&>: "), ("vtt", "\n<v Anna &lt;&amp;&gt;>"), ("txt", "Anna <&>: ")):
        async with page.expect_download() as downloading:
            await page.locator(f'#downloads [data-format="{form}"]').click()
        downloaded = tmp_path / form
        await (await downloading.value).save_as(downloaded)
        assert said in downloaded.read_text()
