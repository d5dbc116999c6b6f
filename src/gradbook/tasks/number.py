"""Numbers as people and models write them: each is read as itself or not at all. Nothing here raises."""

import re
import unicodedata
from decimal import Context, Decimal, InvalidOperation, localcontext

_FRACTIONS = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
DIGIT = re.compile(rf"[\d{_FRACTIONS}]")
_SCALES = {"hundred": 2, "thousand": 3, "lakh": 5, "million": 6, "crore": 7, "billion": 9, "trillion": 12}
_ASCII = {0xFF01 + i: chr(0x21 + i) for i in range(94)} | dict.fromkeys(map(ord, "−‒–﹣"), "-")
_ASCII |= dict.fromkeys(map(ord, "\u00a0\u2009"), "\u202f")  # one sign for the narrow blanks that group digits
_ASCII |= {ord(sign): " " + unicodedata.normalize("NFKC", sign).replace("⁄", "/") for sign in _FRACTIONS}
_NUMBER = re.compile(
    r"(?<![^\W_])(?<![^\W_]_)(?:(?P<sign>[-+]|\b(?:minus|negative)\b)(?P<gap>\s?))?(?:[$€£¥₹]\s?)?(?P<inner>[-+])?"
    r"(?P<digits>\d++(?:[.,'’_\u202f ]\d++)*+|\.\d++)(?P<exponent>[eE][-+]?\d{1,6}(?!\d))?"
    r"(?:\s?(?:[x×*·]|\\times|\\cdot)\s?10\s?(?:\^|\*\*)\s?[{(]?(?P<power>[-+]?\d{1,4})(?!\d)[)}]?)?"
    rf"(?:\s?/\s?(?P<below>\d++))?(?:\s?\b(?P<scale>{'|'.join(_SCALES)})s?\b)?",
    re.IGNORECASE,
)
# What makes a number that stands alone mean another one: what is before it, at the end of a text, and what follows.
_BEFORE = re.compile(
    r"(?:(?<![-=\w\"'/])[<>]|[<>!]=|[≤≥≠±∓√^*/×÷·%]|\d\s?:|\\(?:sqrt|pm|leq?|geq?|neq?|lt|gt)\b\s?\{?|\w\(|n['’]t|[\w)\]}]\s?[-+]"
    r"|(?<!\w)[-+]\s?[a-z]{1,4}\.?\s?[$€£¥₹]?"
    r"|\b(?:not|than|least|most|over|under|above|below|up to|nor|sqrt|log|ln|sin|cos|tan|exp|root of|minus|plus)\b\s?\(?)\s?$|\.$",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"[^\W\d_]|\s?(?:[\^√π×÷·²³‰*/]|\+(?!\s?\d)|\\(?:pi|sqrt|times|cdot|div|over)\b)|!(?=\S)|[:.,'’_-]\d|\s?:\s?\d"
    r"|\s(?:and (?:a|one|three) \w|or (?:more|less|so|fewer)\b)"
    rf"|\s(?:(?:squared|cubed|factorial|dozen|percent of|[kmb]|[bm]n|mio|mrd|{'|'.join(_SCALES)})\b)",
    re.IGNORECASE,
)


def clean(text: str) -> str:
    """`text` with ASCII digits, signs, fractions and powers, and without the LaTeX and Markdown that stand around numbers."""
    text = text.translate(_ASCII).replace("{,}", ",").replace(r"\,", "\u202f").replace(r"\!", "").replace("\\$", "$").replace("`", "")
    text = re.sub(r"\\[dt]?frac\s?(?:\{\s?(\d++)\s?\}|(\d))\s?(?:\{\s?(\d++)\s?\}|(\d))", _fraction, text)
    text = re.sub(r"(?<=10)[⁺⁻]?[⁰¹²³⁴-⁹]++", lambda found: "^" + _folded(found[0]), text)
    return re.sub(r"(?<![\w)\]}*])\*++(?=\S)|(?<=[^\s*])\*++(?=[^\w(*]|$)", "", text)


def _fraction(match: re.Match[str]) -> str:
    """A fraction, after a whole number with the blank that keeps them apart."""
    return " " * match.string[max(0, match.start() - 1) : match.start()].isdigit() + f"{match[1] or match[2]}/{match[3] or match[4]}"


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).translate(_ASCII)


def one(text: str) -> Decimal | None:
    """The number that a cleaned text states; None where it states none, several different ones, or one that cannot be read."""
    value = None
    for count, match in enumerate(_NUMBER.finditer(text)):
        if (found := _value(match)) is None or value not in (None, found) or count > 100:
            return None
        value = found
    return value


def value(text: str | None) -> Decimal | None:
    """The number that `text` is as a whole, in at most 20,000 characters, or None. Fractions are worked out to 50 digits."""
    cleaned = clean(text).strip() if text and len(text) <= 20_000 else ""
    found = _NUMBER.match(cleaned)
    return _value(found) if found and found.end() == len(cleaned) and not re.search("[$€£¥₹]", cleaned) else None


def _value(match: re.Match[str]) -> Decimal | None:
    """The value of a number in a text; None where it is part of something that cannot be read."""
    text, start, end, sign = match.string, match.start(), match.end(), match["sign"] or ""
    before = text[max(0, start - 24) : start]
    last = before.rstrip("$€ ")[-1:]
    operator = sign in ("-", "+") and (last.isdigit() or last in (")", "]", "}") or (last.isalpha() and match["gap"]))
    if operator or (sign and match["inner"]) or _BEFORE.search(before) or _AFTER.match(text[end : end + 24]):
        return None
    digits, below = match["digits"], match["below"]
    whole, _, above = digits.rpartition(" ") if below else ("0", "", _grouped(digits) or "")
    if not above or (below and (match["exponent"] or match["power"] or not (above + (whole := whole or "0")).isdecimal())):
        return None
    with localcontext(Context(prec=50)):
        try:
            number = Decimal(above + (match["exponent"] or ""))
            if below:
                if whole != "0" and not number < Decimal(below):
                    return None
                number = Decimal(whole) + number / Decimal(below)
        except (InvalidOperation, ZeroDivisionError):
            return None
    negative, places, exponent = number.as_tuple()
    negative ^= (sign or match["inner"] or "+") != "+"
    shift = int(match["power"] or 0) + _SCALES.get((match["scale"] or "").lower(), 0)
    return Decimal((negative, places, int(exponent) + shift)) if number else Decimal(0)


_GROUPINGS = (  # the sign between groups of three (of two, in India) and the one before the fraction
    re.compile(r"([1-9]\d{0,2}(?P<by>[,'’_\u202f ])\d{3}(?:(?P=by)\d{3})*+)(?:\.(\d++))?"),
    re.compile(r"([1-9]\d?(?P<by>,)(?:\d\d,)++\d{3})(?:\.(\d++))?"),
    re.compile(r"([1-9]\d{0,2}(?P<by>[.'’\u202f ])\d{3}(?:(?P=by)\d{3})*+),(\d++)"),
    re.compile(r"([1-9]\d{0,2}(?P<by>\.)\d{3}(?:\.\d{3})++)()"),
)


def _grouped(digits: str) -> str | None:
    """Digits without what groups them; None where what is meant is unclear, as in "1,5"."""
    if re.fullmatch(r"\d++(?:\.\d++)?|\.\d++", digits):
        return digits
    found = next((match for grouping in _GROUPINGS if (match := grouping.fullmatch(digits))), None)
    return re.sub(r"\D", "", found[1]) + (f".{found[3]}" if found[3] else "") if found else None
