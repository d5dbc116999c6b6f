"""Reading answers: what counts as one, what honestly counts as none, and that no reply whatever breaks it."""

import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradbook.errors import TaskError
from gradbook.tasks import LabelAnswer, NumberAnswer, SequenceAnswer, TextAnswer
from gradbook.tasks.answers import detect, text_for
from gradbook.tasks.reading import claims

CODES = LabelAnswer(labels=("K1", "K2", "K3"))
TRUTH = LabelAnswer(labels=("yes", "no", "unknown"))
CHOICES = LabelAnswer(labels=("A", "B", "C", "D"))
WEB = SequenceAnswer(labels=("yes", "no", "unknown"), length=3)
NUMBER = NumberAnswer()
TEXT = TextAnswer()


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("K1", "K1"),
        ("k2.", "K2"),
        ("**K3**", "K3"),
        ("`K3`", "K3"),
        ('"K2"', "K2"),
        ("(K2)", "K2"),
        ("[K2]", "K2"),
        ("Answer: K1", "K1"),
        ("**Answer:** K1", "K1"),
        ("**Answer**: K1", "K1"),
        ("Answer:\n\nK1", "K1"),
        ("Answer:**\nK1", "K1"),
        ("Final answer: K1.", "K1"),
        ("The answer is K2", "K2"),
        ("The correct answer is: **K2**.", "K2"),
        ("The answer would be K3, I think.", "K3"),
        (r"So \boxed{K2}.", "K2"),
        (r"The answer is $\boxed{\text{K2}}$", "K2"),
        ('{"answer": "K3"}', "K3"),
        ("<answer>K3</answer>", "K3"),
        ("It might be K1 or K2.\nAnswer: K2", "K2"),
        ("Answer: K1\nWait, that is wrong.\nAnswer: K3", "K3"),
        ("The answer is given below.\nK3", "K3"),
        ("K1 is about bills and K2 about parcels.\nK2", "K2"),
        ("K1 is about bills.\nTherefore the ticket goes to K2.", "K2"),
        ("K2\n\nBecause K1 is about bills.", "K2"),
        ("This is clearly a case for K3, as parcels are.", "K3"),
        ("Answer: K2 because K1 is about bills", "K2"),
        ("Answer: K2. K1 would be wrong.", "K2"),
        ("The code: K2", "K2"),
        ("K1 or K2", None),
        ("K1\nK2", None),
        ("Answer: K1 or K2", None),
        ("Answer: K1, K2", None),
        ("Answer: K1/K2", None),
        ("not K1, K2", None),
        ("Answer: not K1", None),
        ("It isn't K1", None),
        ("K11", None),
        ("K4", None),
        ("XK1", None),
        ("K1-K2", None),
        ("I cannot say.", None),
        ("Answer:", None),
        ("", None),
        (" \n ", None),
    ],
)
def test_a_label_is_read_where_one_is_stated(output: str, answer: str | None) -> None:
    assert CODES.parse(output) == answer


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("Yes.", "yes"),
        ("NO", "no"),
        ("Anna lies, so no one knows.\nAnswer: Unknown", "unknown"),
        ("Answer: yes, because nothing says otherwise", "yes"),
        ("yes and no", None),
        ("I know nothing", None),
        ("It is unknown whether Bob lies.", "unknown"),
    ],
)
def test_short_words_are_read_as_whole_words(output: str, answer: str | None) -> None:
    assert TRUTH.parse(output) == answer


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("B", "B"),
        ("(B)", "B"),
        ("b)", "B"),
        ("**(B)** 5 eV", "B"),
        ("B) 5 eV", "B"),
        ("B. 5 eV", "B"),
        ("Answer: B: 5 eV", "B"),
        ("The correct answer is option C", "C"),
        ("The answer is (D), a photon", "D"),
        (r"\boxed{A}", "A"),
        ("A photon is emitted at once.", None),
        ("Answer: A or B", None),
        ("Answer: B, C", None),
        ("(A) or (B)", None),
    ],
)
def test_a_letter_is_read_but_the_article_a_is_not(output: str, answer: str | None) -> None:
    assert CHOICES.parse(output) == answer


def test_labels_that_contain_one_another() -> None:
    answer = LabelAnswer(labels=("yes", "yes, mostly", "spam", "not spam", "C", "C++", "how-to"))
    assert answer.parse("Answer: yes, mostly") == "yes, mostly"
    assert answer.parse("I would say yes, mostly.") == "yes, mostly"
    assert answer.parse("This is not spam") == "not spam"
    assert answer.parse("Answer: C++") == "C++"
    assert answer.parse("Answer: How-To.") == "how-to"


def test_labels_that_differ_only_in_case_or_sign_need_their_exact_text() -> None:
    answer = LabelAnswer(labels=("a", "A", "-1", "1"))
    assert [answer.parse(text) for text in ("a", "A", "Answer: -1", "Answer: 1")] == ["a", "A", "-1", "1"]
    assert [answer.parse(text) for text in ("Answer: a", "**Answer:** **A**", "So \\boxed{a}", "(-1)")] == ["a", "A", "a", "-1"]


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("yes, no, unknown", "yes, no, unknown"),
        ("Yes, No, Unknown.", "yes, no, unknown"),
        ("**yes, no, unknown**", "yes, no, unknown"),
        ("[yes, no, unknown]", "yes, no, unknown"),
        ("Answer: yes, no, and unknown", "yes, no, unknown"),
        ("Answer:\nyes\nno\nunknown", "yes, no, unknown"),
        ("Answer: **yes**, **no**, **no**", "yes, no, no"),
        ("Answer:\n1. yes\n2. no\n3. yes\n\nThere is no doubt.", "yes, no, yes"),
        (r"\boxed{\text{yes, no, yes}}", "yes, no, yes"),
        ("Anna lies: no. Bob: yes.\nSo: no, yes, yes", "no, yes, yes"),
        ("Answer: yes, no", None),
        ("Answer: yes, no, no, no", None),
        ("yes", None),
        ("", None),
    ],
)
def test_a_list_is_an_answer_only_in_the_right_length(output: str, answer: str | None) -> None:
    assert WEB.parse(output) == answer


def test_a_list_of_any_length_must_be_nothing_but_labels() -> None:
    answer = SequenceAnswer(labels=("yes", "no"))
    assert answer.parse("Answer: yes, no, no, yes") == "yes, no, no, yes"
    assert answer.parse("Answer: yes, perhaps, no") is None
    assert answer.classes("yes, no, no") == ("yes", "no", "no")


@pytest.mark.parametrize(
    ("output", "number"),
    [
        ("42", "42"),
        ("42.", "42"),
        ("= 42", "42"),
        ("42.0", "42"),
        ("-7", "-7"),
        ("−7", "-7"),
        ("The answer is -7.", "-7"),
        ("Answer: - 7", "-7"),
        ("1,234,567", "1234567"),
        ("1\u202f234", "1234"),
        (r"\boxed{-1{,}234}", "-1234"),
        (r"Answer: $\boxed{12}$", "12"),
        ("**Answer:** **12**", "12"),
        ("Answer: 10 + 5 - 3 = 12", "12"),
        ("Answer: 12 (out of 100)", "12"),
        ("A = 3, B = 4\nA + B = 7", "7"),
        ("4.2e3", "4200"),
        (r"$4.2 \times 10^{3}$", "4200"),
        ("4.2 × 10^3", "4200"),
        ("-.5", "-0.5"),
        ("$1,234.50", "1234.5"),
        ("Answer: 5\nAnswer: 6", "6"),
    ],
)
def test_a_number_is_read_and_compared_by_value(output: str, number: str) -> None:
    assert NUMBER.correct(NUMBER.parse(output), number)


@pytest.mark.parametrize("output", ["", "none", "K1", "3rd", "1.2.3.4a", "ten"])
def test_no_number_is_no_answer(output: str) -> None:
    assert NUMBER.parse(output) is None


def test_tolerance_is_absolute_and_none_by_default() -> None:
    assert not NUMBER.correct("3.1", "3.14")
    assert NumberAnswer(tolerance=0.05).correct("3.1", "3.14")
    assert not NumberAnswer(tolerance=0.05).correct("3.0", "3.14")


@pytest.mark.parametrize(
    "output", ["Paris", " paris.", "**Paris**", "Let me think.\nAnswer: Paris", "It is\n\n'PARIS'", r"\boxed{\text{Paris}}"]
)
def test_text_is_compared_without_case_and_decoration(output: str) -> None:
    assert TEXT.correct(TEXT.parse(output), "Paris")
    assert not TEXT.correct(TEXT.parse(output), "Rome")


@pytest.mark.parametrize("answer", [CODES, TRUTH, CHOICES, WEB, NUMBER, TEXT], ids=lambda a: a.kind)
def test_no_answer_is_wrong(answer) -> None:
    target = {"number": "1", "text": "x", "sequence": "yes, no, no"}.get(answer.kind, (answer.labels or ("",))[0])
    assert not answer.correct(None, target)
    assert answer.classes(None) == ()


PIECES = [*"}{,-(1ABC= ", "\n", "\n\n", "**", "Answer:", "answer is", r"\boxed{", "K1", "yes", "no", "unknown", "1e9", "not", "or"]
noise = st.text() | st.lists(st.sampled_from(PIECES)).map(" ".join)


@given(noise)
def test_no_reply_breaks_a_parser(output: str) -> None:
    for answer in (CODES, TRUTH, CHOICES, WEB, SequenceAnswer(labels=("yes", "no")), NUMBER, TEXT):
        read = answer.parse(output)
        assert read is None or answer.correct(read, read)
        assert answer.kind not in ("label", "sequence") or read is None or answer.accepts(read)


@pytest.mark.parametrize("piece", [" ", "\n", "*", "Answer: ", r"\boxed{", "1", "1,111", "- ", "K1 or ", "A, ", ".", "not "])
def test_a_long_reply_is_read_in_no_time(piece: str) -> None:
    start = time.perf_counter()
    for answer in (CODES, CHOICES, WEB, NUMBER, TEXT):
        answer.parse(piece * 10_000 + "x")
    assert time.perf_counter() - start < 2


label = st.text(min_size=1).map(str.strip).filter(bool)


@given(st.lists(label, min_size=1, max_size=6, unique=True))
def test_every_label_reads_as_itself(labels: list[str]) -> None:
    answer = LabelAnswer(labels=tuple(labels))
    assert all(answer.parse(target) == target and answer.correct(target, target) for target in labels)


@given(st.lists(label.filter(lambda text: "," not in text), min_size=1, max_size=4, unique=True), st.data())
def test_every_list_reads_as_itself(labels: list[str], data: st.DataObject) -> None:
    target = ", ".join(data.draw(st.lists(st.sampled_from(labels), min_size=1, max_size=5)))
    answer = SequenceAnswer(labels=tuple(labels))
    assert answer.accepts(target) and answer.correct(answer.parse(target), target)


@given(st.integers().map(str) | st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str))
def test_every_number_reads_as_itself(target: str) -> None:
    assert NUMBER.accepts(target) and NUMBER.correct(NUMBER.parse(target), target)


FORMS = {
    "-$5": "-5",
    "$-5": "-5",
    "-$1.5 million": "-1500000",
    "minus 5": "-5",
    "negative 5": "-5",
    "+5": "5",
    "3/4": "0.75",
    r"\frac{3}{4}": "0.75",
    r"$-\frac{3}{4}$": "-0.75",
    r"\dfrac12": "0.5",
    "½": "0.5",
    "−2½": "-2.5",
    "2 1/2": "2.5",
    "1 000 000": "1000000",
    "12,34,567": "1234567",
    "Rs. 12,34,567": "1234567",
    "1.234,56": "1234.56",
    "1.234.567": "1234567",
    "1'000": "1000",
    "1_000": "1000",
    "1.5 million": "1500000",
    "5 thousand": "5000",
    "5*10^3": "5000",
    "2*10**3": "2000",
    "5 × 10⁻³": "0.005",
    "1e-3": "0.001",
    "１２": "12",
    "50%": "50",
    "-5%": "-5",
    "5 apples": "5",
    "x = 5": "5",
    "=> 42": "42",
    "(5)": "5",
    "5 (five)": "5",
    "5!": "5",
    "18 because 3 x 6 = 18 and 18 - 18 = 0.": "18",
    "18, since 20 - 2 is 18": "18",
    # not one number, or none that can only be read as itself
    "1,5": None,
    "12.34.5": None,
    "10-3": None,
    "3 or 4": None,
    "5 to 7": None,
    "5–7": None,
    "3:45": None,
    "1/2/2024": None,
    "2024-01-05": None,
    "x = 5, y = 6": None,
    "5k": None,
    "3 M": None,
    "3rd": None,
    "5 hundred thousand": None,
    "5 and a half": None,
    "2^10": None,
    "10³": None,
    "√2": None,
    r"\sqrt{2}": None,
    "2π": None,
    "f(5)": None,
    "x <= 5": None,
    "at least 5": None,
    "not 5": None,
    "5+": None,
    "±5": None,
    "-USD 5": None,
    "ten": None,
    "COVID-19": None,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("said", ["{}", "Answer: {}", "First 3, then 4.\nThe answer is {}", r"\boxed{{{}}}"])
def test_a_number_is_read_as_itself_or_not_at_all(said: str, form: str) -> None:
    read, number = NUMBER.parse(said.format(form)), FORMS[form]
    assert read is None if number is None else NUMBER.correct(read, number)


@pytest.mark.parametrize(
    ("output", "number"),
    [
        ("Answer: 42. Check: 42 / 6 = 7.", "42"),
        ("42. Check: 42 / 6 = 7.", None),
        ("42\nCheck: 42 / 6 = 7.", None),
        ("1. Compute 3 + 4 = 7.", None),
        ("- 7 apples", None),
        ("So it is 3 apples.\nThat makes 3 + 4 = 7.", "7"),
        ("3 + 4 = 8?\nAnswer: seven", None),
        ("答案：42", "42"),
        ("<think>Could the answer be 5?</think>\nAnswer: 6", "6"),
    ],
)
def test_where_a_reply_gives_its_number(output: str, number: str | None) -> None:
    assert (NUMBER.parse(output) is None) if number is None else NUMBER.correct(NUMBER.parse(output), number)


def written(number: Decimal, group: str, point: str, sign: str, money: str) -> str:
    whole, _, part = format(abs(number), "f").partition(".")
    grouped = f"{int(whole):,}".replace(",", group)
    return f"{sign if number < 0 else ''}{money}{grouped}{point + part if part else ''}"


@given(
    st.decimals(min_value=-(10**12), max_value=10**12, places=2) | st.integers(-(10**9), 10**9).map(Decimal),
    st.sampled_from([("", "."), (",", "."), (" ", "."), ("\u202f", "."), (".", ","), ("'", "."), (" ", ","), ("", ",")]),
    st.sampled_from(["-", "−", "– "[:1], "minus "]),
    st.sampled_from(["", "$", "€ "]),
    st.sampled_from(["{}", "Answer: {}", "**Answer:** **{}**", "The answer is {}.", r"\boxed{{{}}}", "So x = {}", "${}$"]),
)
def test_however_a_number_is_written_it_is_never_read_as_another(number, marks, sign, money, said) -> None:
    read = NUMBER.parse(said.format(written(number, *marks, sign, money)))
    assert read is None or NUMBER.correct(read, str(number)) or (marks == (".", ",") and number == int(number) and abs(number) < 10**6)
    assert read is not None or "," in marks or " " in marks or "." in marks[0]


@given(st.text(alphabet="0123456789.,-+ /%$^x*=eE()k½²π", max_size=12), st.sampled_from(["{}", "Answer: {}"]))
def test_what_is_read_as_a_number_stands_for_itself(text: str, said: str) -> None:
    read = NUMBER.parse(said.format(text))
    assert read is None or NUMBER.parse(read) == read


@pytest.mark.parametrize(
    ("labels", "replies"),
    [
        (("<30", ">30", "NO"), {"Answer: <30": "<30", "**Answer:** NO": "NO", ">30.": ">30", "The answer is <30.": "<30"}),
        (("Yes", "yes", "No", "no"), {"Yes": "Yes", "Answer: Yes": "Yes", "Answer: **yes**.": "yes", r"\boxed{No}": "No", "YES": None}),
        (("yes", "yes.", "no"), {"Answer: yes": "yes", "Answer: yes.": "yes.", "**yes.**": "yes.", "Answer: no": "no", '"yes"': "yes"}),
        (("A", "B", "C", "D"), {"答案：A": "A", "Answer：B": "B", "正确答案是C": "C", "**答案**：D": "D", "Antwort: B": "B"}),
        (("+", "-"), {"+": "+", "Answer: -": "-", "**+**": "+"}),
        (("C", "C#", "C++"), {"Answer: C": "C", "Answer: C#.": "C#", "It is C++.": "C++"}),
    ],
)
def test_labels_that_look_alike_are_told_apart(labels: tuple[str, ...], replies: dict[str, str | None]) -> None:
    answer = LabelAnswer(labels=labels)
    assert {reply: answer.parse(reply) for reply in replies} == replies


def test_a_sign_is_part_of_a_label() -> None:
    answer = LabelAnswer(labels=(">50K", "<=50K"))
    assert [answer.parse(text) for text in ("Answer: <50K", "50K", "<50K", "Answer: <=50K")] == [None, None, None, "<=50K"]


@given(st.lists(label, min_size=1, max_size=6, unique=True))
def test_every_label_is_read_from_an_answer_line(labels: list[str]) -> None:
    answer = LabelAnswer(labels=tuple(labels))
    assert [answer.parse(f"Answer: {target}") for target in labels] == labels
    assert all(answer.parse(f"I think so.\n\nAnswer: {target}") == target for target in labels if "\n" not in target)


JSON = '{"a": [1, 2.50], "b": true}'


@pytest.mark.parametrize(
    ("target", "right", "wrong"),
    [
        (
            JSON,
            ['{"b": true,\n "a": [1.0, 2.5]}', f"Here it is:\n```json\n{JSON}\n```\nDone.", f"Answer:\n{JSON}"],
            ['{"a": [1, 2.5], "b": 1}', "}"],
        ),
        ('{"answer": "x",\n"b": 2}', ['{"b": 2, "answer": "x"}'], ['{"answer": "x"}', '"b": 2}']),
        (
            "x = 1\nreturn x",
            ["```python\nx = 1\nreturn x\n```", "x = 1  \nreturn x", "So.\n**Answer:**\nx = 1\nreturn x"],
            ["return x", "x = 2\nreturn x"],
        ),
    ],
)
def test_a_target_of_several_lines_is_compared_whole(target: str, right: list[str], wrong: list[str]) -> None:
    answer = detect([target, "other"])
    assert answer == TextAnswer(whole=True) and answer.correct(answer.parse(target), target)
    assert all(answer.correct(answer.parse(reply), target) for reply in right)
    assert not any(answer.correct(answer.parse(reply), target) for reply in wrong)
    assert not TextAnswer().accepts("a\nb"), "a format that reads one line cannot compare two"


@given(label)
def test_every_text_reads_as_itself(target: str) -> None:
    answer = text_for([target])
    assert answer.accepts(target) and answer.correct(answer.parse(target), target)


def test_the_format_is_detected_from_the_targets() -> None:
    assert detect(["1", "-2", "1,000"]).kind == "number"
    assert detect(["a", "b", "a", "b"]) == LabelAnswer(labels=("a", "b"))
    assert detect(["a, b", "b, a", "a, a"]) == SequenceAnswer(labels=("a", "b"), length=2)
    assert detect(["a", "b", "c"]).kind == "text"
    assert detect(["a", "b"], labels=["a", "b", "c"]) == LabelAnswer(labels=("a", "b", "c"))


@pytest.mark.parametrize(("labels", "named"), [(("a", "a"), "'a' is given twice"), (("",), "empty"), (("a ",), "spaces")])
def test_labels_that_cannot_be_told_apart_are_refused(labels: tuple[str, ...], named: str) -> None:
    with pytest.raises(TaskError, match=named):
        LabelAnswer(labels=labels)


@pytest.mark.parametrize("answer", [CODES, WEB, NUMBER, TEXT], ids=lambda a: a.kind)
def test_the_format_instruction_shows_what_the_parser_reads(answer) -> None:
    assert '"Answer: ' in answer.instruction()
    assert all(label in answer.instruction() for label in answer.labels)


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        ("Answer: **42.** Check: 42 / 6 = 7.", "42"),
        ("```\n1\nso it is 7.", None),
        ("word " * 2_000 + "So 3 + 4 = 7. The answer follows. It is 7.", "7"),
        ("word " * 2_000 + "and 7", None),
        ("Answer: 7. " + "word " * 2_000, "7"),
        ("Answer: " + "word " * 2_000 + "7", None),
        ("Answer: 7\n" + "Plain words.\n" * 2_000, "7"),
        ("５．", "5"),
        ("it is 3½。", "3.5"),
    ],
    ids=lambda text: str(text)[:20],
)
def test_a_number_is_read_at_either_end_of_a_reply_of_any_length(reply: str, number: str | None) -> None:
    assert NumberAnswer().parse(reply) == number


@given(
    st.lists(
        st.sampled_from(
            ["Answer: ", "the answer is ", r"\boxed{", "}", "K1", "42", "word " * 300, "\n", "答案：", "回答", "réponse = ", "r"]
        )
    )
)
def test_statements_are_the_same_wherever_the_reading_begins(pieces: list[str]) -> None:
    """A reply is read in stretches from its end; a reply of one stretch, which is all that a longer limit makes, says the same."""
    text = "".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gradbook.tasks.reading.LONGEST", 10)
        stretches = list(claims(text))
        patch.setattr("gradbook.tasks.reading.LONGEST", 10**9)
        assert stretches == list(claims(text))
