"""Twenty-four hours and seconds: what operators compare with logs."""

DATETIME_FORMAT = "j M Y H:i:s"
SHORT_DATETIME_FORMAT = "j M H:i"
DATE_FORMAT = "j M Y"
TIME_FORMAT = "H:i:s"
