"""What is said of quantization, and the verdict on it, which follows from figures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

NOT_MEASURED, SOMETIMES = "not measured here", "holds when"
SMALL = 0.01  # of accuracy: 20 of 2,000 test images; chance alone moves such an accuracy by 0.007


@dataclass(frozen=True)
class Claim:
    """Something that is said.

    Attributes:
        topic: under which heading it stands.
        says: the claim, in our words.
        lesson, section: where the course shows it: "01", and a heading.
        judge: takes what was measured, and returns the figures, in words, and the verdict.
    """

    topic: str
    says: str
    lesson: str
    section: str
    judge: Callable[[dict], tuple[str, str]]


CLAIMS: list[Claim] = []


def claim(topic: str, says: str, lesson: str, section: str) -> Callable:
    """Put a function that judges into CLAIMS."""
    return lambda judge: CLAIMS.append(Claim(topic, says, lesson, section, judge))


def verdict(held: bool | Mapping[str, bool]) -> str:
    """Of a claim that held or did not; or of one that was tried in several cases, which follow "when".

    >>> verdict(True), verdict({"it rains": False})
    ('holds', 'fails')
    >>> verdict({"it rains": True, "it snows": True, "the sun shines": False})
    'holds when it rains; it snows'
    """
    cases = held if isinstance(held, Mapping) else {"": held}
    assert cases
    if all(cases.values()):
        return "holds"
    good = [case for case, fine in cases.items() if fine]
    return f"{SOMETIMES} {'; '.join(good)}" if good else "fails"


def listed(values: Mapping[str, object], form: str = "{}") -> str:
    """Names and values in one line."""
    return "; ".join(f"{name} {form.format(value)}" for name, value in values.items())


def yes(fact: bool) -> str:
    """A fact in a word."""
    return "yes" if fact else "no"
