"""A webhook cannot be aimed at what is inside."""

from __future__ import annotations

import socket

import pytest

from webapp.notify import addresses, webhook

INSIDE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "192.88.99.1",
    "::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1",
    "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:4136:e378::", "fe80::1%eth0", "nonsense",
]  # fmt: skip


@pytest.fixture
def resolve(monkeypatch):
    """Let names lead where a test says; the questions are counted."""

    def use(*answers: list[str]) -> list[str]:
        asked: list[str] = []

        def getaddrinfo(host, port, **_):
            asked.append(host)
            found = answers[min(len(asked), len(answers)) - 1]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port)) for text in found]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    return use


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_not_public(address):
    assert not addresses.is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111"])
def test_an_address_of_the_internet_is(address):
    assert addresses.is_public(address)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.org/", "begin with"),
        ("file:///etc/passwd", "begin with"),
        ("//example.org/", "begin with"),
        ("https://", "no host"),
        ("https://user:secret@example.org/", "user name"),
        ("https://example.org:22/", "Port 22"),
        ("https://example.org:6379/", "Port 6379"),
        ("https://example.org:99999/", "cannot be read"),
        ("https://example.org/a b", "ASCII"),
        ("https://example.org/\r\nX: y", "ASCII"),
        ("https://exämple.org/", "ASCII"),
        ("https://[fe80::1%25eth0]/", "no host"),
        ("https://example.org/" + "a" * 500, "500"),
    ],
)
def test_an_address_that_is_none_is_refused_with_the_reason(url, why):
    with pytest.raises(addresses.Refused, match=why):
        addresses.parse(url)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://2130706433/", "http://0x7f.1/", "http://[::1]/", "http://0/",
     "http://[::ffff:127.0.0.1]/", "http://localhost/"],
)  # fmt: skip
def test_every_spelling_of_this_machine_is_refused(url):
    with pytest.raises((addresses.Refused, addresses.Unresolved)):
        addresses.resolve(addresses.parse(url))


def test_a_name_that_also_leads_inside_is_refused(resolve):
    resolve(["8.8.8.8", "10.0.0.1"])

    with pytest.raises(addresses.Refused, match="not public"):
        addresses.resolve(addresses.parse("https://example.org/"))


def test_the_connection_goes_to_the_address_that_was_checked(resolve, monkeypatch):
    """A name that leads inside the second time it is asked for is not asked for twice."""
    asked = resolve(["8.8.8.8"], ["127.0.0.1"])
    opened = []

    def create_connection(address, timeout):
        opened.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", create_connection)

    with pytest.raises(webhook.Failed, match="Connection refused"):
        webhook.post("https://example.org/hook", b"{}", {})
    assert opened == [("8.8.8.8", 443)]
    assert asked == ["example.org"]


def test_a_host_inside_is_asked_when_the_settings_name_it(resolve, settings):
    resolve(["10.0.0.7"])
    settings.WEBHOOK_ALLOW = ["chat.lab", "other.lab:9000"]

    assert addresses.resolve(addresses.parse("http://chat.lab/")) == ["10.0.0.7"]
    assert addresses.resolve(addresses.parse("http://other.lab:9000/")) == ["10.0.0.7"]
    with pytest.raises(addresses.Refused, match="Port 9000"):
        addresses.parse("http://chat.lab:9000/")
    with pytest.raises(addresses.Refused, match="not public"):
        addresses.resolve(addresses.parse("http://other.lab/"))
    with pytest.raises(addresses.Refused, match="not public"):
        addresses.resolve(addresses.parse("http://chat.lab.example.org/"))


def test_a_redirect_is_an_answer_and_not_followed(receiver):
    receiver.status, receiver.answers = 302, {"Location": f"{receiver.url}&again"}

    assert webhook.post(receiver.url, b"{}", {}) == 302
    assert [path for path, _, _ in receiver.got] == ["/hook?key=k3y"]


def test_a_receiver_that_drips_is_cut_off(monkeypatch, settings):
    monkeypatch.setattr(webhook, "LIMIT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        settings.WEBHOOK_ALLOW = [f"127.0.0.1:{port}"]

        with pytest.raises(webhook.Failed, match=r"within 0\.3 s|took too long"):
            webhook.post(f"http://127.0.0.1:{port}/", b"{}", {})  # it accepts and says nothing


def test_a_receiver_that_speaks_no_http_is_a_failure_without_its_words(settings):
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        settings.WEBHOOK_ALLOW = [f"127.0.0.1:{port}"]

        def answer():
            other, _ = server.accept()
            other.recv(4096)
            other.sendall(b"-ERR secret of another protocol\r\n")
            other.close()

        threading.Thread(target=answer, daemon=True).start()

        with pytest.raises(webhook.Failed) as found:
            webhook.post(f"http://127.0.0.1:{port}/", b"{}", {})
    assert "secret" not in str(found.value)
