"""Run in an environment with livekit-plugins-openai: its speech to text, with nothing set but the address.

livekit_client.py URL WAV MODEL...: each a name, or `default`; with `+realtime`, by the Realtime API. Prints one json
object a line: model, finals, interims, language, errors.
"""

import asyncio
import contextlib
import json
import sys
import wave

from livekit import rtc
from livekit.agents import stt
from livekit.agents.utils import http_context
from livekit.plugins import openai

WORDS = 7


async def by_stream(service, pcm, rate_hz, said):
    """Speech at its pace, then silence, as a room sends it."""
    stream = service.stream()

    async def push():
        size = rate_hz // 20 * 2
        sound = pcm + bytes(4 * rate_hz)
        for start in range(0, len(sound), size):
            part = sound[start : start + size]
            stream.push_frame(rtc.AudioFrame(part, rate_hz, 1, len(part) // 2))
            await asyncio.sleep(0.05)

    async def hear():
        async for event in stream:
            if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                said["finals"].append(event.alternatives[0].text)
                said["language"] = str(event.alternatives[0].language)
                if sum(len(text.split()) for text in said["finals"]) >= WORDS:
                    return
            elif event.type == stt.SpeechEventType.INTERIM_TRANSCRIPT:
                said["interims"].append(event.alternatives[0].text)

    pushing = asyncio.create_task(push())
    try:
        await asyncio.wait_for(hear(), 30)
    except Exception as error:
        said["errors"].append(repr(error))
    pushing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await pushing
    await stream.aclose()
    await service.aclose()


async def by_file(service, pcm, rate_hz, said):
    event = await service.recognize(rtc.AudioFrame(pcm, rate_hz, 1, len(pcm) // 2))
    said["finals"].append(event.alternatives[0].text)
    said["language"] = str(event.alternatives[0].language)


async def main(url, path, names):
    with wave.open(path) as file:
        rate_hz, pcm = file.getframerate(), file.readframes(file.getnframes())
    async with http_context.open():
        for name in names:
            model, _, realtime = name.partition("+")
            options = {} if model == "default" else {"model": model}
            if realtime:
                options["use_realtime"] = True
            service = openai.STT(base_url=f"{url}/v1", api_key="none", **options)
            said = {"model": service.model, "finals": [], "interims": [], "errors": []}
            speak = by_stream if service.capabilities.streaming else by_file
            await speak(service, pcm, rate_hz, said)
            print("SAID", json.dumps(said), flush=True)


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
