"""Times, dates, money, lengths of time, lists and names as plain British English (GOV.UK style guide, A to Z).

"9am to 4:30pm", "midday", "1 April 2026", "£2.90": the forms that councils' own web pages use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date

DAY = 86_400
"""Seconds of a wall-clock day."""
_HOUR = 3600

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_UNITS = ((7 * DAY, "week"), (DAY, "day"), (_HOUR, "hour"), (60, "minute"), (1, "second"))

_LONGER = {"lib": "library", "lms": "library system", "ev": "EV", "id": "ID", "uk": "UK"}
"""Short forms that people write in ids, and what they stand for."""
_CAPITALS = frozenset(["at", "dla", "esa", "hwrc", "nhs", "pin", "pip", "rbkc", "wcc"])
"""Short forms that are said letter by letter."""
_COMMON: Mapping[str, str] = {
    "appointee": "an appointee’s letter",
    "blue_badge": "a Blue Badge",
    "care_plan": "a care plan",
    "carer": "being a carer",
    "council_tax_support": "Council Tax Support",
    "disability": "a disability",
    "housing_benefit": "Housing Benefit",
    "lasting_power_of_attorney": "a lasting power of attorney",
    "named_by_holder": "the cardholder’s own word",
    "parent_consent": "a parent’s consent",
    "pension_credit": "Pension Credit",
    "student": "being a student",
    "universal_credit": "Universal Credit",
}
"""Facts that most councils record under these names; any other is read from its own name."""


class Names:
    """What things are called. ``titles`` holds the council's own names for sites, sets, facts... by id."""

    def __init__(self, titles: Mapping[str, str] | None = None) -> None:
        self._titles = titles or {}

    def of(self, name: str) -> str:
        """The council's own name, a common one, or words made from the id: ``open-plus`` is ``open plus``."""
        return self._titles.get(name) or _COMMON.get(name) or humanise(name)

    def thing(self, name: str) -> str:
        """The same, for what is not a fact: a parent is a parent here, not a kind of evidence."""
        return self._titles.get(name) or humanise(name)

    def proper(self, name: str) -> str:
        """The same for a place or a council, whose words begin with capitals."""
        return self._titles.get(name) or capitals(humanise(name))


def humanise(name: str) -> str:
    """Words from an id: ``@pimlico-lib`` is ``pimlico library``, ``wcc`` is ``WCC``."""
    words = [word for word in re.split(r"[_\-.:@]+", name) if word]
    return " ".join(_word(word) for word in words) or name


def _word(word: str) -> str:
    if word.lower() in _LONGER:
        return _LONGER[word.lower()]
    return word.upper() if word.lower() in _CAPITALS else word


def capitals(text: str) -> str:
    """Every word with a capital."""
    return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))


def sentence(text: str) -> str:
    """With a capital at the start and a full stop at the end."""
    ended = text if text.endswith((".", ":")) else text + "."
    return ended[:1].upper() + ended[1:]


def listed(items: Iterable[str], word: str = "and") -> str:
    """``a, b and c``; with commas throughout where an item holds the word itself."""
    parts = list(items)
    if len(parts) < 2:
        return "".join(parts)
    if any(f" {word} " in part or ", " in part for part in parts):
        return ", ".join(parts[:-1]) + f", {word} {parts[-1]}"
    return ", ".join(parts[:-1]) + f" {word} {parts[-1]}"


def article(noun: str) -> str:
    """``a`` or ``an`` before a noun, by its sound as far as its spelling shows it."""
    spelt = re.match(r"[A-Z]{2,}\b", noun)
    if spelt:
        return "an" if noun[0] in "AEFHILMNORSX" else "a"
    return "an" if noun[:1].lower() in "aeiou" and not noun.lower().startswith(("uni", "use", "eu")) else "a"


def plural(noun: str, count: int) -> str:
    """A noun for that many; units such as kWh have no plural."""
    if count == 1 or re.search(r"[A-Z]", noun) or noun.endswith("s"):
        return noun
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("ch", "sh", "x")) else "s")


def counted(count: int, noun: str) -> str:
    """``12 visits``, ``1 entry``."""
    return f"{count:,} {plural(noun, count)}"


def times(count: int) -> str:
    """``once``, ``twice``, ``3 times``."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def small(count: int) -> str:
    """A number below ten as a word."""
    return _SMALL[count] if 0 <= count < len(_SMALL) else f"{count:,}"


def money(pence: int) -> str:
    """``£2.90``, ``£50``, ``40p`` or ``free``."""
    if pence == 0:
        return "free"
    if pence < 100:
        return f"{pence}p"
    pounds, rest = divmod(pence, 100)
    return f"£{pounds:,}" if rest == 0 else f"£{pounds:,}.{rest:02d}"


def clock(seconds: int) -> str:
    """``9am``, ``9:45am``, ``midday``, ``midnight``; seconds since local midnight, 24:00 included."""
    if seconds % DAY == 0:
        return "midnight"
    hours, minutes = divmod(seconds // 60, 60)
    if (hours, minutes) == (12, 0):
        return "midday"
    half = "am" if hours < 12 else "pm"
    return f"{(hours + 11) % 12 + 1}{f':{minutes:02d}' if minutes else ''}{half}"


def span(start: int, until: int) -> str:
    """``9am to 4pm``, ``10pm to 6am the next day``, ``all day``."""
    if until == start or (start == 0 and until == DAY):
        return "all day" if start == 0 else f"{clock(start)} to {clock(until)} the next day"
    next_day = " the next day" if until < start and until != 0 else ""
    return f"{clock(start)} to {clock(until)}{next_day}"


def day(value: date) -> str:
    """``1 April 2026``."""
    return f"{value.day} {MONTHS[value.month - 1]} {value.year}"


def month_day(month: int, number: int) -> str:
    """``1 April``."""
    return f"{number} {MONTHS[month - 1]}"


def length(seconds: int) -> str:
    """``15 minutes``, ``4 hours``, ``28 days``; ``1 hour and 30 minutes``. Whole weeks only from a fortnight up."""
    if seconds == 0:
        return "no time"
    if seconds % DAY == 0 and DAY < seconds <= 90 * DAY:
        return counted(seconds // DAY, "day")
    if seconds % _HOUR == 0 and seconds <= 48 * _HOUR:
        return counted(seconds // _HOUR, "hour")
    parts = []
    for size, name in _UNITS:
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(counted(number, name))
    return listed(parts)


def weekdays(days: Iterable[int]) -> str:
    """``Monday to Friday``, ``Saturday and Sunday``, ``every day``; 0 is Monday."""
    runs: list[list[int]] = []
    for number in sorted(set(days)):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    if len(runs) == 1 and len(runs[0]) == len(WEEKDAYS):
        return "every day"
    parts: list[str] = []
    for run in runs:
        names = [WEEKDAYS[number] for number in run]
        parts += [f"{names[0]} to {names[-1]}"] if len(run) > 2 else names
    return listed(parts)
