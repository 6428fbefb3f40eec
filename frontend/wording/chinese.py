"""The written form of Chinese and Japanese: numbers with what they count, where they are said."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from frontend.wording.edits import Edit
from frontend.wording.grammar import written

# Traditional characters of numbers, which the grammar knows as the simple ones. One for one, so that places stay.
SIMPLE = str.maketrans("萬億兩點塊號時負餘幾個〇", "万亿两点块号时负余几个零")
N = "[零一二三四五六七八九十百千万亿两幺]"
DIGIT = "[零一二三四五六七八九]"
MONTH = "(?:十?[一二]|十|[三四五六七八九])"
YEAR = rf"(?:{DIGIT}{{4}}|[一二两]千{N}*)"
SHORT_YEAR = rf"(?:{DIGIT}{{4}}|{DIGIT}{{2}})"
HOUR = "(?:[一二]?十[一二三四]?|[一二两三四五六七八九])"
AMOUNT = rf"{N}+(?:点{DIGIT}+)?"
TENS = "(?:[一二三四五]?十[一二三四五六七八九]?|零[一二三四五六七八九])"
# What reads as a number and is none.
WORDS = (
    "万一|千万别|千万不|千万要|成千上万|万分|万能|万物|万岁|百姓|百货|百合|百科|百度|百分百|千方百计|一心一意|三心二意|一五一十|"
    "三三两两|五花八门|七上八下|乱七八糟|四面八方|五湖四海|九九八十一|十全十美|十足|十字|十分(?!钟|之|[零一二三四五六七八九])|"
    "不三不四|接二连三|五颜六色|千山万水|万里长城|八九不离十|双十一|八十年代|九十年代|四合院|"
    "(?:星期|礼拜|周)[一二三四五六]|初[一二三四五六七八九十]+|第[一二三四五六七八九](?![十百千万])"
)
UNITS = {
    "公斤": "kg", "千克": "kg", "毫克": "mg", "公里": "km", "千米": "km", "厘米": "cm", "毫米": "mm", "毫升": "ml",
    "平方公里": "km²", "平方米": "m²", "立方米": "m³", "摄氏度": "°C", "公里每小时": "km/h", "千米每小时": "km/h",
    "米每秒": "m/s",
}  # fmt: skip
MONEY = {"美元": "$", "欧元": "€", "英镑": "£"}
UNIT = "|".join(sorted(UNITS, key=len, reverse=True))
SECOND = rf"(?P<second>{TENS}|[一二三四五六七八九])秒"
MINUTE = rf"(?P<minute>{TENS})(?:分{SECOND}|分(?!之))?"
# In the order in which they are tried.
PATTERNS = (
    ("word", rf"(?:{WORDS})"),
    ("date", rf"(?:(?P<year>{YEAR}|{DIGIT}{{2}})年)?(?P<month>{MONTH})月(?P<day>{N}{{1,3}})(?P<day_of>[日号])"),
    ("year_and_month", rf"(?P<only_year>{YEAR})年(?P<its_month>{MONTH})月(?!份?{N})"),
    ("of_year", rf"(?P<alone>{SHORT_YEAR})年(?!代)"),
    ("clock", rf"(?P<hour>{HOUR})点(?:(?P<half>半)|(?P<quarter>[一三])刻|{MINUTE})(?!{N})"),
    ("of_day", rf"(?<=[上下中]午|早上|晚上|凌晨|傍晚|清晨)(?P<at>{HOUR})点(?!{N})"),
    ("percent", rf"(?P<part>百分之|千分之)(?P<share>{AMOUNT})"),
    ("money", rf"(?P<less>负)?(?P<amount>{AMOUNT})(?P<currency>{'|'.join(MONEY)})"),
    ("coins", rf"(?P<whole>{N}+)块(?P<change>[一二三四五六七八九])(?P<dime>毛)?(?!{N})"),
    ("measure", rf"(?P<below>负)?(?P<count>{AMOUNT})(?P<unit>{UNIT})"),
    ("temperature", rf"(?P<cold>负|零下)(?P<degrees>{AMOUNT})度"),
    ("large", rf"(?P<times>[一二三四五六七八九十百千]+(?:点{DIGIT}+)?|{DIGIT}+点{DIGIT}+)(?P<scale>万亿|万|亿)(?!{N})"),
    ("fraction", rf"{N}+分之{N}+"),
    ("sum", rf"{N}+(?:(?:加|减|乘|除以|比){N}+)+(?:等于{N}+)?"),
    ("plain", rf"(?P<minus>负)?(?P<number>{AMOUNT})"),
)
FOUND = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in PATTERNS))
# Numbers that are not meant exactly: `三四个`, `十几`.
ABOUT = re.compile(rf"^(?:[二三四五六七八九][三四五六七八九](?![零一二三四五六七八九])|{DIGIT}{{2}}[十百千万]|十几)")
VALUES = {said: str(value) for value, said in enumerate("零一二三四五六七八九十")}
VALUES |= {"两": "2", "百": "100", "千": "1000"}
# As the grammar writes numbers: `2亿5000万`.
DIGITS = re.compile(r"\d+(?:\.\d+)?(?:[万亿]\d*)*")
SERIAL = re.compile("[零一二三四五六七八九幺]+")
ANY = re.compile("[零〇一二三四五六七八九十百千万萬亿億两兩]")
# Japanese runs that are given to its grammar, with what they count.
KANJI = "[〇零一二三四五六七八九十百千万億]"
RUN = re.compile(
    rf"(?:マイナス|第)?{KANJI}+(?:点{KANJI}+)?(?:分の{KANJI}+)?"
    rf"(?:年(?:{KANJI}+月)?(?:{KANJI}+日)?|月{KANJI}+日|時間|時(?:{KANJI}+分)?|分|秒|パーセント|キロメートル|キログラム|メートル|"
    rf"円|ドル|ユーロ|度|歳|人|個|回|日|月|キロ|番)?"
)
# Counted by words of their own when they are few, as are things in order.
FEW = re.compile("[一二三四五六七八九](?:人|日|月|個|番|つ|年|回|度|分)?|十分")
KATAKANA_UNITS = {"キロメートル": "km", "キログラム": "kg"}


def chinese_edits(text: str) -> list[Edit]:
    """What of a Chinese text is written otherwise than it is said; in order."""
    simple = text.translate(SIMPLE)
    found: list[Edit] = []
    for one in FOUND.finditer(simple) if ANY.search(text) else ():
        became = _written(one, simple)
        if became != one.group():
            found.append(Edit(one.start(), one.end(), became))
    return found


def japanese_edits(text: str) -> list[Edit]:
    """The same of a Japanese text."""
    found: list[Edit] = []
    for one in RUN.finditer(text):
        run = one.group()
        if FEW.fullmatch(run) or not ANY.search(run):
            continue
        became = _counted(run)
        if became != run:
            found.append(Edit(one.start(), one.end(), became))
    return found


def _counted(run: str) -> str:
    unit = next((one for one in KATAKANA_UNITS if run.endswith(one)), "")
    if unit:
        return _number_ja(run.removesuffix(unit)) + KATAKANA_UNITS[unit]
    return _number_ja(run)


def _number_ja(run: str) -> str:
    """One character by itself is none to the grammar."""
    return VALUES.get(run) or written("ja", run)


class _NoNumber(ValueError):
    """Characters of numbers that are no number together."""


def _written(found: re.Match[str], text: str) -> str:
    kind = next(name for name, _ in PATTERNS if found[name] is not None)
    try:
        return RULES[kind](found, text)
    except _NoNumber:
        return found.group()


def _number(said: str) -> str:
    """In digits. The grammar leaves a digit by itself as it is, and with a measure not."""
    said = said.replace("幺", "一")
    if len(said) == 1 and said in VALUES:
        return VALUES[said]
    if SERIAL.fullmatch(said):
        return "".join(VALUES[one] for one in said)
    return _by_grammar(said)


@lru_cache(maxsize=4096)
def _by_grammar(said: str) -> str:
    whole, point, fraction = said.partition("点")
    if len(whole) == 1 and whole not in VALUES:
        raise _NoNumber
    digits = VALUES[whole] if len(whole) == 1 else written("zh", whole)
    if not DIGITS.fullmatch(digits):
        raise _NoNumber
    return f"{digits}.{_number(fraction)}" if point else digits


def _date(found: re.Match[str], _: str) -> str:
    year = f"{_number(found['year'])}年" if found["year"] else ""
    return f"{year}{_number(found['month'])}月{_below(32, found['day'])}{found['day_of']}"


def _month(found: re.Match[str], _: str) -> str:
    return f"{_number(found['only_year'])}年{_number(found['its_month'])}月"


def _of_year(found: re.Match[str], _: str) -> str:
    """Of two digits it is a year where that is no number of years: `九八年`, and not `二三年`."""
    said = found["alone"]
    is_count = len(said) == 2 and "零" not in said and said[0] not in "七八九"
    return found.group() if is_count else f"{_number(said)}年"


def _time(found: re.Match[str], _: str) -> str:
    if found["half"]:
        minute = 30
    elif found["quarter"]:
        minute = 15 if found["quarter"] == "一" else 45
    else:
        minute = _below(60, found["minute"])
    second = f":{_below(60, found['second']):02}" if found["second"] else ""
    return f"{_number(found['hour'])}:{minute:02}{second}"


def _below(bound: int, said: str) -> int:
    digits = _number(said)
    if not digits.isdigit() or int(digits) >= bound:
        raise _NoNumber
    return int(digits)


def _of_day(found: re.Match[str], _: str) -> str:
    return f"{_number(found['at'])}点"


def _percent(found: re.Match[str], _: str) -> str:
    share = "100" if found["share"] == "百" else _number(found["share"])
    return f"{share}{'%' if found['part'] == '百分之' else '‰'}"


def _money(found: re.Match[str], _: str) -> str:
    return f"{'-' if found['less'] else ''}{MONEY[found['currency']]}{_number(found['amount'])}"


def _coins(found: re.Match[str], _: str) -> str:
    return f"{_number(found['whole'])}块{_number(found['change'])}{found['dime'] or ''}"


def _measure(found: re.Match[str], _: str) -> str:
    return f"{'-' if found['below'] else ''}{_number(found['count'])}{UNITS[found['unit']]}"


def _degrees(found: re.Match[str], _: str) -> str:
    sign = "-" if found["cold"] == "负" else "零下"
    return f"{sign}{_number(found['degrees'])}{'°' if sign == '-' else '度'}"


def _large(found: re.Match[str], text: str) -> str:
    if len(found["times"]) == 1 and found["times"] not in "一二三四五六七八九十":
        return found.group()
    if ABOUT.match(found["times"]) or text[found.end() : found.end() + 1] == "几":
        return found.group()
    return f"{_number(found['times'])}{found['scale']}"


def _as_grammar_has_it(found: re.Match[str], _: str) -> str:
    return written("zh", found.group())


def _plain(found: re.Match[str], text: str) -> str:
    said, behind = found["number"], text[found.end() : found.end() + 1]
    if said[-1] in "十百千万亿" and behind == "几":
        return found.group()
    if said == "十" and behind and behind in "块元":
        return "10"
    if (len(said) == 1 and not found["minus"]) or ABOUT.match(said) or set(said) <= set("百千万亿"):
        return found.group()
    return f"{'-' if found['minus'] else ''}{_number(said)}"


RULES: dict[str, Callable[[re.Match[str], str], str]] = {
    "word": lambda found, _: found.group(),
    "date": _date,
    "year_and_month": _month,
    "of_year": _of_year,
    "clock": _time,
    "of_day": _of_day,
    "percent": _percent,
    "money": _money,
    "coins": _coins,
    "measure": _measure,
    "temperature": _degrees,
    "large": _large,
    "fraction": _as_grammar_has_it,
    "sum": _as_grammar_has_it,
    "plain": _plain,
}
