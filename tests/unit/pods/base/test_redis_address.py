"""Which words an address of Redis may have, and what becomes of them."""

from ssl import CERT_NONE, CERT_REQUIRED

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.connection import parse_url

from pods.base.redis import redis_client
from pods.base.redis_address import WORDS, checked, for_celery, usable, with_authority


@pytest.mark.parametrize(
    ("given_address", "address"),
    [
        ("redis://h", "redis://h"),
        ("redis://h:6379/", "redis://h:6379/"),
        ("redis://:p%40w@h:6379/3", "redis://:p%40w@h:6379/3"),
        ("redis://u:p@[::1]:6379/3", "redis://u:p@[::1]:6379/3"),
        ("redis://u@h/0", "redis://u:@h/0"),
        ("redis://h/0?socket_keepalive=YES", "redis://h/0?socket_keepalive=true"),
        ("redis://h?db=3", "redis://h/3"),
        ("redis://h/0?username=u&password=a%2Fb", "redis://u:a%2Fb@h/0"),
        ("rediss://h/0?ssl_cert_reqs=CERT_NONE", "rediss://h/0?ssl_cert_reqs=none"),
        ("rediss://h/0?ssl_cert_reqs=CERT_REQUIRED", "rediss://h/0?ssl_cert_reqs=required"),
        ("rediss://h/0?ssl_cert_reqs=cert_optional", "rediss://h/0?ssl_cert_reqs=optional"),
        ("rediss://h/0?ssl_check_hostname=False", "rediss://h/0?ssl_check_hostname=false"),
        ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?db=2"),
        ("unix://u:p@/run/redis.sock", "unix://u:p@/run/redis.sock"),
        ("redis://h/0?socket_timeout=0.5", "redis://h/0?socket_timeout=0.5"),
    ],
)
def test_an_address_is_written_as_every_client_reads_it(given_address: str, address: str) -> None:
    assert checked(given_address) == usable(given_address) == checked(address) == address


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("redis://h/0;redis://i/0", "a list of addresses"),
        ("redis://h/0, redis://i/0", "a list of addresses"),
        ("sentinel://h:26379/0", "sentinels are not supported"),
        ("rediss+sentinel://h:26379/main/0", "sentinels are not supported"),
        ("redis+socket:///run/redis.sock", "unix:///path"),
        ("http://h", "begins with redis://"),
        ("redis:h", "begins with redis://"),
        ("redis://h:port/0", "the port is not a number"),
        ("redis://h/three", "the database is 'three'; give its number"),
        ("redis://h//3", "the database is '/3'"),
        ("redis://h/3/", "the database is '3/'"),
        ("redis://h/%33", "the database is '%33'"),
        ("redis://h/3;4", "the database is '3;4'"),
        ("redis://h/3?db=5", "names the database twice"),
        ("redis://h?db=x", "db is 'x'"),
        ("redis://h/3#x", "ends with #"),
        ("redis://h/3?visibility_timeout=3600", "an option of Celery's transport; take it out"),
        ("redis://h/3?decode_responses=True", "decode_responses, which is not known"),
        ("redis://h/3?protocol=3", "protocol, which is not known"),
        ("redis://h/3?encoding=latin-1", "encoding, which is not known"),
        ("redis://h/3?virtual_host=3", "virtual_host, which is not known"),
        ("redis://h/3?retry_on_error=x", "retry_on_error, which is not known"),
        ("redis://h/3?client_name=", "client_name has no value"),
        ("redis://h/3?client_name=a&client_name=b", "a word twice"),
        ("redis://h/3?socket_timeout=soon", "give seconds above 0"),
        ("redis://h/3?socket_timeout=nan", "give seconds above 0"),
        ("redis://h/3?max_connections=-1", "give a whole number"),
        ("redis://h/3?socket_keepalive=maybe", "give true or false"),
        ("rediss://h/3?ssl_cert_reqs=never", "give required, optional or none"),
        ("redis://h/3?client_name=a b", "has a blank"),
        ("redis://h\n/3", "has a blank"),
        ("redis://h/3?client_name=a\x07", "has a blank"),
        ("redis://h/3?socket_timeout=0.0", "give seconds above 0"),
    ],
)
def test_another_address_is_refused_and_the_message_says_what_would_be_right(
    address: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words.replace("+", r"\+")):
        checked(address)


@pytest.mark.parametrize("address", ["redis://:se/cret@h/0", "redis://:se#cret@h/0"])
def test_no_message_holds_a_part_of_the_password(address: str) -> None:
    with pytest.raises(ValueError, match="in a password") as caught:
        checked(address)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    "word", ["decode_responses=True", "visibility_timeout=9", "protocol=3", "socket_timeout=x"]
)
def test_a_client_leaves_out_the_words_that_an_older_version_let_pass(word: str) -> None:
    client = redis_client(f"redis://h/3?{word}&client_name=me")
    made = client.connection_pool.connection_kwargs
    assert (made["db"], made["client_name"]) == (3, "me")
    assert (made["protocol"], made["decode_responses"], made["socket_timeout"]) == (2, False, 10.0)
    assert "visibility_timeout" not in made


NAMES = st.sampled_from([*WORDS, "decode_responses", "x"])
VALUES = st.sampled_from(["1", "0", "true", "none", "CERT_NONE", "a b", "é/#?", ""])


@given(
    words=st.dictionaries(NAMES, VALUES, max_size=4), path=st.sampled_from(["", "/", "/4", "/x"])
)
def test_every_address_that_passes_is_read_by_the_client_as_it_is_written(
    words: dict[str, str], path: str
) -> None:
    query = "&".join(f"{name}={value.replace(' ', '+')}" for name, value in words.items())
    try:
        address = checked(f"rediss://h{path}?{query}")
    except ValueError:
        return
    read = parse_url(address)
    assert read.get("db", 0) == int(words.get("db", path.strip("/") or 0))
    assert read.keys() <= {*WORDS, "host", "connection_class"}
    assert checked(address) == usable(address) == address


@pytest.mark.parametrize(
    ("address", "broker", "tls"),
    [
        ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?db=2", None),
        ("redis://h/1?socket_timeout=3", "redis://h/1", None),
        ("rediss://h/1?socket_timeout=3", "rediss://h/1", {"ssl_cert_reqs": CERT_REQUIRED}),
        (
            "rediss://h?ssl_cert_reqs=none&ssl_ca_certs=/ca.pem&ssl_check_hostname=false",
            "rediss://h",
            {
                "ssl_cert_reqs": CERT_NONE,
                "ssl_ca_certs": "/ca.pem",
                "ssl_check_hostname": False,
            },
        ),
        (
            "rediss://h?ssl_check_hostname=true",
            "rediss://h",
            {"ssl_cert_reqs": CERT_REQUIRED, "ssl_check_hostname": True},
        ),
    ],
)
def test_celery_gets_the_words_of_tls_as_options_and_no_others(
    address: str, broker: str, tls: dict[str, object] | None
) -> None:
    assert for_celery(address) == (broker, tls)


@pytest.mark.parametrize(
    ("address", "file", "then"),
    [
        ("rediss://h/0?db=1", "/ca.pem", "rediss://h/0?db=1&ssl_ca_certs=%2Fca.pem"),
        ("rediss://h/0", "", "rediss://h/0"),
        ("redis://h/0", "/ca.pem", "redis://h/0"),
        ("rediss://h/0?ssl_ca_certs=/own.pem", "/ca.pem", "rediss://h/0?ssl_ca_certs=/own.pem"),
    ],
)
def test_an_address_with_tls_gets_the_authority_of_the_installation(
    address: str, file: str, then: str
) -> None:
    assert with_authority(address, file) == then
