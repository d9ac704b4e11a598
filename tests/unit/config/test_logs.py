"""Logs never show secrets."""

from config.logs import redact


def test_no_secret_reaches_a_log() -> None:
    event = redact(
        None,
        "info",
        {
            "event": "connected to redis://pod:hunter1@cache/0",
            "api_key": "hunter2",
            "Authorization": "Bearer hunter3",
            "database_password": "hunter4",
            "client_token": "names a pod",
            "pod": 7,
        },
    )
    assert "hunter" not in str(event)
    assert event["event"] == "connected to redis://pod:**@cache/0"
    assert (event["client_token"], event["pod"]) == ("names a pod", 7)


def test_no_secret_reaches_a_log_inside_another_value() -> None:
    event = redact(
        None,
        "error",
        {
            "event": "opened redis://:hunter1@x@cache/0 and redis://h/0?password=hunter2&db=1",
            "args": ["redis://a:hunter3@cache/0", {"api_key": "hunter4", "pod": 7}],
            "options": {"nested": ({"secret": ["hunter5"]},)},
            "error": OSError("amqp://a:hunter6@broker refused"),
        },
    )
    assert "hunter" not in str(event)
    assert event["event"].endswith("redis://h/0?password=**&db=1")
    assert event["args"][1]["pod"] == 7
