from pathlib import Path

import pytest

from scripts.marathon.access import SECRET_VARIABLES, addresses, authorization, ca_file
from tests.refusing import refusal

SECRET = "s3cret-pässword"


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("10.0.0.10:8080", ["http://10.0.0.10:8080"]),
        ("a:8080,b:8080", ["http://a:8080", "http://b:8080"]),
        (" a:8080 , https://b:8443/ ", ["http://a:8080", "https://b:8443"]),
        ("https://dcos/service/marathon", ["https://dcos:443/service/marathon"]),
        ("http://dcos/marathon/", ["http://dcos:80/marathon"]),
        ("dcos:8080/marathon", ["http://dcos:8080/marathon"]),
        ("[::1]:8080", ["http://[::1]:8080"]),
        ("https://[::1]", ["https://[::1]:443"]),
    ],
)
def test_addresses(text: str, urls: list[str]) -> None:
    assert addresses(text) == urls


@pytest.mark.parametrize(
    "text",
    ["", "a", "a:8080,", "a:8080;b:8080", "a:99999", "a:x", "http://", "http://a:", "zk://a:2181/marathon",
     "ftp://a/", "a:8080 b:8080", "http://a?x=1", "http://a/x#y", "::1:8080", "https://a b"],
)  # fmt: skip
def test_what_is_no_address_is_one_line(text: str) -> None:
    refusal(addresses, text)


@pytest.mark.parametrize("text", [f"http://user:{SECRET}@a:8080", f"user:{SECRET}@a:8080", f"b:1,http://{SECRET}@a"])
def test_a_password_in_an_address_is_refused_and_not_repeated(text: str) -> None:
    found = refusal(addresses, text)
    assert "MARATHON_PASSWORD_FILE" in found
    assert SECRET not in found


def test_no_credentials() -> None:
    assert authorization({}) == ""


def test_user_and_password() -> None:
    assert authorization({"MARATHON_USER": "Aladdin", "MARATHON_PASSWORD": "open sesame"}) == (
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    )


def test_a_password_file_ends_before_its_line_end(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("open sesame\n")
    assert authorization({"MARATHON_USER": "Aladdin", "MARATHON_PASSWORD_FILE": str(path)}) == (
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    )


def test_a_dcos_token_is_no_bearer_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("abc.def\n")
    assert authorization({"DCOS_ACS_TOKEN": "abc.def"}) == "token=abc.def"
    assert authorization({"DCOS_ACS_TOKEN_FILE": str(path)}) == "token=abc.def"


def test_a_user_is_used_before_a_token() -> None:
    environ = {"MARATHON_USER": "Aladdin", "MARATHON_PASSWORD": "open sesame", "DCOS_ACS_TOKEN": "abc"}
    assert authorization(environ).startswith("Basic ")


@pytest.mark.parametrize(
    "environ",
    [
        {"MARATHON_USER": "Aladdin"},
        {"MARATHON_PASSWORD": SECRET},
        {"MARATHON_USER": "a:b", "MARATHON_PASSWORD": SECRET},
        {"MARATHON_USER": "Aladdin", "MARATHON_PASSWORD_FILE": "/nowhere"},
        {"MARATHON_USER": "Aladdin", "MARATHON_PASSWORD_FILE": "/proc/self/exe"},
        {"DCOS_ACS_TOKEN": f"{SECRET}\nX-Injected: yes"},
        {"DCOS_ACS_TOKEN_FILE": "/nowhere"},
    ],
    ids=str,
)
def test_credentials_that_cannot_be_are_named_but_not_shown(environ: dict[str, str]) -> None:
    found = refusal(authorization, environ)
    assert any(name in found for name in (*environ, "MARATHON_USER"))
    assert SECRET not in found


def test_every_variable_with_a_secret_is_listed_as_one() -> None:
    assert {"MARATHON_PASSWORD", "MARATHON_PASSWORD_FILE", "DCOS_ACS_TOKEN", "DCOS_ACS_TOKEN_FILE"} < set(
        SECRET_VARIABLES
    )


def test_the_system_is_trusted_without_a_ca_file() -> None:
    assert ca_file("", {}) == ""


@pytest.mark.parametrize("words", [None, "no certificate\n"], ids=["missing", "no PEM"])
def test_a_ca_file_that_cannot_be_is_named(tmp_path: Path, words: str | None) -> None:
    path = tmp_path / "ca.pem"
    if words is not None:
        path.write_text(words)
    for given, environ in ((str(path), {}), ("", {"MARATHON_CA_FILE": str(path)})):
        assert str(path) in refusal(ca_file, given, environ)
