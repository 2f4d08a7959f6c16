"""The mail server, by smtplib and swaks; lines cut anywhere, and ends that are none."""

import mailbox
import smtplib
import socket
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.testing.certificates import authority, server_certificate


@pytest.fixture(scope="module")
def served(start):
    return start("smtp.py:smtp", "--bind", "tcp://127.0.0.1:0", MAILDIR="mail")


def mails(served):
    """Every mail that was delivered, by subject."""
    found = {mail["Subject"]: mail for mail in mailbox.Maildir(served.directory / "mail")}
    mailbox.Maildir(served.directory / "mail").clear()
    return found


@pytest.mark.outside
def test_smtplib_delivers(served):
    """To each recipient that was named; a line that begins with a dot arrives as it was."""
    message = EmailMessage()
    message["Subject"] = "hello"
    message.set_content("one\n.two\n..three\n\nfour é\n", cte="8bit")
    with smtplib.SMTP("127.0.0.1", served.port) as client:
        client.send_message(message, "me@example.org", ["you@example.org", "them@example.org"])
        client.noop()
    mail = mails(served)["hello"]

    assert "<me@example.org>" == mail["Return-Path"]
    assert ["you@example.org", "them@example.org"] == mail.get_all("Delivered-To")
    assert "one\n.two\n..three\n\nfour é\n" == mail.get_payload(decode=True).decode()


@pytest.mark.outside
def test_a_message_that_is_too_large_is_refused(served):
    """By what it announces, before it is sent; and the connection goes on."""
    with smtplib.SMTP("127.0.0.1", served.port) as client:
        client.ehlo()
        code, _ = client.mail("me@example.org", ["SIZE=99999999"])
        assert 552 == code
        assert 250 == client.noop()[0]
        with pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail("me@example.org", "you@example.org", b"x" * 11_000_000)


@pytest.fixture(scope="module")
def secured(start):
    pytest.importorskip("trustme")
    options = ("--bind", "tcp://127.0.0.1:0?tls=start", "--tls-cert", server_certificate())
    return start("smtp.py:smtp", *options, MAILDIR="mail")


@pytest.mark.outside
def test_smtplib_starts_tls(secured):
    """It is offered before and not after, and what was said before it is forgotten (RFC 3207 section 4.2)."""
    message = EmailMessage()
    message["Subject"] = "secret"
    message.set_content("words")
    with smtplib.SMTP("127.0.0.1", secured.port, local_hostname="me") as client:
        client.ehlo()
        assert client.has_extn("starttls")
        assert 250 == client.mail("before@example.org")[0]
        client.starttls(context=authority().client())
        assert 503 == client.rcpt("you@example.org")[0]
        client.ehlo()
        assert not client.has_extn("starttls")
        assert 500 == client.docmd("STARTTLS")[0]
        client.send_message(message, "me@example.org", "you@example.org")

    assert "words\n" == mails(secured)["secret"].get_payload()


@pytest.mark.outside
def test_commands_behind_starttls_are_refused(secured):
    """In the same packet, in clear: CVE-2011-0411 and its like."""
    with socket.create_connection(("127.0.0.1", secured.port), 20) as sock, sock.makefile("rb") as lines:
        lines.readline()
        sock.sendall(b"STARTTLS\r\nEHLO evil\r\n")
        rest = lines.read()

    assert rest in (b"", b"220 go ahead\r\n")


@pytest.mark.outside
def test_swaks_starts_tls(secured, program):
    """As mail servers do among themselves."""
    server = f"127.0.0.1:{secured.port}"
    program("swaks", "--server", server, "--to", "you@example.org", "--header", "Subject: swaks tls", "--tls")

    assert "you@example.org" == mails(secured)["swaks tls"]["Delivered-To"]


@pytest.mark.outside
@pytest.mark.parametrize("pipelining", [(), ("--pipeline",)])
def test_swaks_delivers(served, program, pipelining):
    """One command at a time, and all of them at once."""
    server = f"127.0.0.1:{served.port}"
    program("swaks", "--server", server, "--to", "you@example.org", "--header", "Subject: swaks", *pipelining)
    mail = mails(served)["swaks"]

    assert "you@example.org" == mail["Delivered-To"]
    assert "This is a test mailing" in mail.get_payload()


DIALOG = (
    b"EHLO there\r\nMAIL FROM:<me@example.org> SIZE=10\r\nRCPT TO:<you@example.org>\r\n"
    b"DATA\r\nSubject: cut\r\n\r\n..a\r\n.\r\n"
    b"DATA\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\nRCPT TO:<>\r\nRSET\r\nRCPT TO:<you@example.org>\r\nFOO\r\nQUIT\r\n"
)


@given(cuts=st.lists(st.integers(1, 40), max_size=30))
@settings(max_examples=15)
def test_where_the_network_cuts_the_bytes_does_not_matter(served, cuts):
    """A whole dialog has the same answers, and one mail."""
    answers = served.replies(DIALOG, cuts).split(b"\r\n")
    mail = mails(served)["cut"]

    codes = b"220 250 250 250 250 250 250 354 250 503 250 503 501 250 503 500 221".split()
    assert codes == [line[:3] for line in answers if line]
    assert ".a\n" == mail.get_payload()


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r\r\n.\r\n"])
def test_no_end_but_crlf_dot_crlf_ends_a_message(served, end):
    """What follows another one is not read as commands: the connection is over, and nothing was delivered."""
    begin = b"EHLO there\r\nMAIL FROM:<me@example.org>\r\nRCPT TO:<you@example.org>\r\nDATA\r\nSubject: one\r\n\r\ntext"
    smuggled = b"MAIL FROM:<boss@example.org>\r\nRCPT TO:<you@example.org>\r\nDATA\r\nSubject: two\r\n\r\nx\r\n.\r\n"
    answers = served.replies(begin + end + smuggled)

    assert {} == mails(served)
    assert answers.splitlines()[-1].startswith(b"500 ")
    assert 1 == answers.count(b"354")
