"""What a live session says again after its server was lost, and what it does not tell twice."""

import pytest

from frontend.triton.journal import LEAD, LONGEST, SILENCE, WINDOW, Journal

SECOND = 16_000


def samples(count, value=1):
    return value.to_bytes(2, "little") * count


class Spoken(Journal):
    """A journal whose client sends so many times as fast as it speaks."""

    def __init__(self, speed=1):
        self.now_s, self.speed = 0.0, speed
        super().__init__(lambda: self.now_s)

    def note(self, pcm16, parameters, *, end):
        self.now_s += len(pcm16) / 2 / SECOND / self.speed
        return super().note(pcm16, parameters, end=end)


def filled(seconds, speed=1):
    journal = Spoken(speed)
    journal.note(b"", {"language": "en"}, end=False)
    for _ in range(seconds):
        journal.note(samples(SECOND), {}, end=False)
    return journal


def started(number, start):
    return {"type": "speech_started", "utterance": number, "start": start / SECOND, "start_sample": start}


def final(number, start, end, text="one"):
    place = {"start": start / SECOND, "start_sample": start, "end": end / SECOND, "end_sample": end}
    return {"type": "final", "utterance": number, "text": text, "stable": "", "revised": False, **place}


def test_the_utterance_without_a_final_is_said_again_and_counted_on():
    journal = filled(10)
    journal.told(started(1, 0))
    assert journal.told(final(1, 0, 2 * SECOND))["utterance"] == 1
    journal.told(started(2, 4 * SECOND))
    begin, *again = journal.again()
    assert begin.parameters == {"language": "en", "unheard_samples": 0, "told_samples": LEAD}
    assert again[0].position == 4 * SECOND - LEAD
    assert again[-1].after == 10 * SECOND
    assert sum(len(sent.pcm16) for sent in again) == 2 * (6 * SECOND + LEAD)
    # The new stream's first utterance is the session's second one, which has begun already.
    assert journal.told(started(1, LEAD)) is None
    told = journal.told(final(1, LEAD, 3 * SECOND))
    assert (told["utterance"], told["start_sample"], told["end"]) == (2, 4 * SECOND, 5.976)


def test_behind_an_utterance_all_is_said_again_and_the_detector_begins_where_it_began():
    journal = filled(10)
    journal.told(started(1, 0))
    assert "resume_sample" not in journal.told({**final(1, 0, 50_000), "resume_sample": 55_296})
    journal.told(started(2, 5 * SECOND))
    begin, first, *_ = journal.again()
    assert begin.parameters == {"language": "en", "unheard_samples": 5_296, "told_samples": 0}
    assert first.position == 50_000
    # The next stream counts from there.
    assert journal.told({**final(1, 30_000, 60_000), "resume_sample": 65_000})["end_sample"] == 110_000
    begin, first, *_ = journal.again()
    assert (first.position, begin.parameters["unheard_samples"]) == (110_000, 5_000)


def test_behind_a_cut_a_second_before_it_is_heard_again_in_the_same_windows():
    journal = filled(10)
    journal.told(started(1, 0))
    journal.told(final(1, 0, 50_000))
    begin, first, *_ = journal.again()
    assert first.position % WINDOW == 0
    assert begin.parameters["unheard_samples"] == 0
    assert begin.parameters["told_samples"] == 50_000 - first.position
    assert LEAD <= begin.parameters["told_samples"] < LEAD + WINDOW


def test_a_command_that_was_not_obeyed_is_followed_by_all_that_was_said():
    journal = filled(1)
    journal.note(b"", {"command": "flush"}, end=False)
    for _ in range(30):
        journal.note(samples(SECOND), {}, end=False)
    begin, *again = journal.again()
    assert begin.parameters["told_samples"] == begin.parameters["unheard_samples"] == 0
    assert again[0].parameters == {"command": "flush"}
    assert again[-1].after - again[0].position == 30 * SECOND


def test_stable_text_stays_and_a_final_that_differs_says_so():
    journal = filled(3)
    journal.told(started(1, 0))
    place = {"utterance": 1, "start": 0.0, "start_sample": 0, "end": 2.0, "end_sample": 2 * SECOND}
    partial = {"type": "partial", **place}
    assert journal.told({**partial, "text": "four two one", "stable": "four two", "unstable": " one"})
    journal.again()
    shorter = journal.told({**partial, "text": "four two", "stable": "four", "unstable": " two"})
    assert (shorter["stable"], shorter["unstable"]) == ("four two", "")
    assert journal.told({**partial, "text": "for", "stable": "", "unstable": "for"}) is None
    assert journal.told(final(1, 0, 2 * SECOND, "for two"))["revised"]


def test_what_is_kept_is_bounded():
    silent = filled(200)
    assert 0 <= sum(len(sent.pcm16) for sent in silent.again()) // 2 - SILENCE - LEAD < WINDOW
    # What came within as many seconds by the clock may not have been judged yet.
    hasty = filled(200, speed=4)
    assert 0 <= sum(len(sent.pcm16) for sent in hasty.again()) // 2 - 4 * SILENCE - LEAD <= 4 * SECOND
    burst = filled(400, speed=1_000)
    assert 0 <= sum(len(sent.pcm16) for sent in burst.again()) // 2 - LONGEST - LEAD < WINDOW
    speaking = filled(0)
    speaking.told(started(1, 0))
    for _ in range(200):
        speaking.note(samples(SECOND), {}, end=False)
    assert 0 <= sum(len(sent.pcm16) for sent in speaking.again()) // 2 - LONGEST - LEAD < WINDOW


@pytest.mark.parametrize(("command", "event"), [("flush", "flushed"), ("reset", "reset")])
def test_a_command_is_said_again_until_it_was_obeyed(command, event):
    journal = filled(2)
    journal.note(b"", {"command": command}, end=False)
    journal.note(samples(SECOND), {}, end=False)
    assert [sent.parameters.get("command") for sent in journal.again()].count(command) == 1
    journal.told({"type": event, "end": 2.0, "end_sample": 2 * SECOND})
    _, *again = journal.again()
    assert [sent.position for sent in again] == [2 * SECOND]


def test_settings_that_are_refused_all_together_are_left_out_from_the_newest_on():
    journal = filled(1)
    journal.note(b"", {"threshold": 9}, end=False)
    assert journal.again()[0].parameters == {"language": "en", "threshold": 9, "unheard_samples": 0, "told_samples": 0}
    assert journal.doubt()
    assert journal.again()[0].parameters == {"language": "en", "unheard_samples": 0, "told_samples": 0}
    assert journal.doubt()
    assert not journal.doubt()


def test_changes_of_settings_are_kept_apart_up_to_a_bound():
    journal = filled(1)
    for number in range(1_000):
        journal.note(b"", {"language": "en", f"setting_{number % 3}": number}, end=False)
    begin, *_ = journal.again()
    assert {begin.parameters[f"setting_{which}"] for which in range(3)} == {997, 998, 999}
    assert sum(journal.doubt() for _ in range(1_000)) <= 50


def test_a_command_that_was_refused_is_not_said_again_and_answers_to_others_are_theirs():
    journal = filled(1)
    refused, obeyed = (journal.note(b"", {"command": "flush"}, end=False) for _ in range(2))
    assert 0 < refused < obeyed
    assert journal.note(samples(SECOND), {}, end=False) == 0
    journal.refused(refused)
    assert [sent.number for sent in journal.again() if sent.parameters.get("command")] == [obeyed]
    journal.told({"type": "flushed", "end": 1.0, "end_sample": SECOND})
    assert [sent.position for sent in journal.again()[1:]] == [SECOND]


def test_samples_that_came_with_a_refused_command_stay():
    journal = filled(1)
    journal.refused(journal.note(samples(SECOND), {"command": "reset"}, end=False))
    *_, last = journal.again()
    assert (len(last.pcm16), last.parameters) == (2 * SECOND, {})


def test_a_command_that_nothing_answers_does_not_keep_what_comes_after_it():
    journal = filled(1)
    journal.note(b"", {"command": "flush"}, end=False)
    for _ in range(300):
        journal.note(samples(SECOND), {}, end=False)
    journal.told(final(1, 200 * SECOND, 300 * SECOND))
    assert sum(len(sent.pcm16) for sent in journal.again()) <= 2 * (SECOND + LEAD + WINDOW)


def test_settings_that_were_refused_do_not_hold_where_the_session_goes_on():
    journal = filled(1)
    taken = journal.note(b"", {"agreement": 3}, end=False)
    refused = journal.note(b"", {"language": "de", "agreement": 5}, end=False)
    assert taken < refused
    journal.refused(refused)
    begin, *_ = journal.again()
    assert (begin.parameters["language"], begin.parameters["agreement"]) == ("en", 3)


def test_sound_of_many_small_requests_is_kept_in_few_pieces():
    journal = Spoken()
    sound = b"".join(samples(160, 1 + number % 200) for number in range(1_000))
    for start in range(0, len(sound), 320):
        journal.note(sound[start : start + 320], {}, end=False)
    journal.note(b"", {"command": "flush"}, end=False)
    journal.note(samples(160), {}, end=False)
    _, *again = journal.again()
    assert len(again) == 10 + 2
    assert b"".join(sent.pcm16 for sent in again[:10]) == sound
    assert again[10].parameters == {"command": "flush"}
    assert [sent.position for sent in again] == [*range(0, 10 * SECOND, SECOND), 10 * SECOND, 10 * SECOND]


def test_words_that_were_to_follow_are_told_as_lost_and_no_others():
    journal = filled(10)
    journal.told({**final(1, 0, SECOND), "words_follow": True})
    journal.told({**final(2, 2 * SECOND, 3 * SECOND), "words_follow": True})
    journal.told(final(3, 4 * SECOND, 5 * SECOND))
    word = {"word": "one", "start": 0.1, "end": 0.4, "confidence": 0.9}
    journal.told({"type": "words", "utterance": 1, "words": [word]})
    (lost,) = journal.lost_beside()
    assert (lost["type"], lost["utterance"], lost["words"]) == ("words", 2, [])
    assert lost["words_error"]
    assert journal.lost_beside() == []


def test_words_of_a_stream_that_goes_on_are_told_in_the_sessions_time():
    journal = filled(10)
    journal.told(final(1, 0, 2 * SECOND))
    _, first, *_ = journal.again()
    journal.told(final(1, SECOND, 2 * SECOND))
    word = {"word": "one", "start": 1.25, "end": 1.5, "confidence": 0.9}
    told = journal.told({"type": "words", "utterance": 1, "words": [word]})
    assert told["utterance"] == 2
    moved = first.position / SECOND
    assert told["words"] == [{**word, "start": round(1.25 + moved, 3), "end": round(1.5 + moved, 3)}]
    # The event that came is the stream's own, and stays as it was.
    assert word["start"] == 1.25


def test_letters_that_were_told_are_not_told_again_by_the_next_stream():
    journal = filled(10)
    journal.told({**final(1, 0, SECOND), "speaker": "B"})
    assert journal.again()[0].parameters["told_speakers"] == 2
    turn = {"start": 0.0, "start_sample": 0, "end": 1.0, "end_sample": SECOND}
    journal.told({"type": "speaker", "utterance": 1, "speaker": "C", "turns": [{**turn, "speaker": "AA"}]})
    assert journal.again()[0].parameters["told_speakers"] == 27
    # No more than `asr_stream` takes.
    journal.told({"type": "speaker", "utterance": 1, "speaker": "ZZZ"})
    assert journal.again()[0].parameters["told_speakers"] == 1_000
