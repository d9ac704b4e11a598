"""Makes numbers in messages agree with their nouns. Pure."""


def plural(count: int, noun: str) -> str:
    """`1 pod`, `2 pods`, `2 processes`, `2 tries`."""
    if count == 1:
        return f"1 {noun}"
    if noun.endswith(("s", "ch")):
        return f"{count:,} {noun}es"
    return f"{count:,} {noun[:-1]}ies" if noun.endswith("ry") else f"{count:,} {noun}s"
