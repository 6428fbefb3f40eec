"""What a language model may write in place of a text: by its role, and never another number or its opposite."""

import pytest

from frontend.wording.roles import Role, roles
from frontend.wording.straying import strays

ROLES = roles()
PUNCTUATION, TERMS = ROLES["punctuation"], ROLES["terms"]
LONG = " ".join(f"word{letter}{other}" for letter in "abcdefghij" for other in "klmnopqrstuvwxyz")


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("the meeting begins at nine its late", "The meeting begins at nine: it's late!"),
        ("don’t pay 3.5 dollars before 9:30", "Don't pay $3.5 dollars, before 9:30."),
        ("我们明天去北京好吗", "我们明天去北京，好吗？"),
        ("das große haus und ich", "Das große Haus – und ich."),
        ("no", "No."),
        ("١٢ كتابا", "12 كتابا."),
        (LONG, LONG.replace("wordak", "wordaq")),
    ],
)
def test_marks_and_capitals_are_mended(text, other):
    assert not strays(text, other, PUNCTUATION)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("The price is 3.5 dollars, please pay.", "The price is 35 dollars, please pay."),
        ("The price is -35 dollars.", "The price is 35 dollars."),
        ("It is at 9:30, room 4.", "It is at 9:30, room 5."),
        ("rooms 4 and 5", "rooms 5 and 4"),
        ("do not pay before the third of may please", "Do pay before the third of May, please."),
        ("we don't want it and they want it badly enough", "We want it, and they want it badly enough."),
        ("我们明天不去北京", "我们明天去北京。"),
        ("私は行かないです", "私は行くです。"),
        (f"{LONG} it is not so", f"{LONG} it is so"),
        (f"{LONG} 10", f"{LONG} 11"),
    ],
)
def test_numbers_and_negations_stay_in_every_role(text, other):
    assert strays(text, other, PUNCTUATION)
    assert strays(text, other, TERMS)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("no", "ok"),
        ("ja", "ne"),
        ("四", "五"),
        ("he said yes to all of them", "He says yes to all of them."),
        ("pay him now", "Pay her now."),
        ("the rapist was heard", "Therapist was heard."),
        ("हम कल जाएंगे", "हम कल जाएगी।"),
        (LONG, LONG + " thanks for watching, and subscribe"),
    ],
)
def test_a_role_that_keeps_words_keeps_them(text, other):
    assert strays(text, other, PUNCTUATION)


def test_terms_may_be_mended_and_a_text_may_not_become_another():
    text = "we deploy it on cooper netties in the morning"
    assert not strays(text, "We deploy it on Kubernetes in the morning.", TERMS)
    assert strays(text, "We burn it with petrol at night in the morning.", TERMS)
    assert strays("no", "ok", TERMS)
    assert strays("pay", "Stay.", TERMS)
    assert strays("一", "二", TERMS)


def test_a_role_that_may_write_anything_may():
    assert not strays("not 3 of them", "keine drei davon", Role("german", "rewrites", "In German.", most_changed=1))
