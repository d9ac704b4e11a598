"""Says why a text is no JSON."""


def why_no_json(exc: Exception) -> str:
    """What `json.loads` raised, in words for people: Python's own speak of its recursion."""
    return "it is nested too deeply" if isinstance(exc, RecursionError) else str(exc)
