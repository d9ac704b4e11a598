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
