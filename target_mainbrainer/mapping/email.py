"""E-mail addresses: syntax only, and otherwise as written."""

from __future__ import annotations

from target_mainbrainer.contacts.rejection import RejectionCode
from target_mainbrainer.mapping.quick_email import is_plain_email
from target_mainbrainer.mapping.values import InvalidValueError


def parse_email(value: object) -> str | None:
    """Return an e-mail address as written, without the blanks around it.

    Syntax only, nothing is looked up. Addresses under `.test` and `example.com` pass, and so do
    quoted and internationalised ones; what never reaches anybody (`ola@localhost`, `.invalid`,
    `.local`, an IP address in brackets) does not, nor does `Ola <ola@example.com>`. Nothing is
    normalised: whether case matters to the CRM is unknown (API note, section 8.1).

    >>> parse_email(" Ola.Nordmann@Example.com ")
    'Ola.Nordmann@Example.com'
    >>> parse_email("") is None
    True
    >>> parse_email("ola@example")
    Traceback (most recent call last):
    target_mainbrainer.mapping.values.InvalidValueError: invalid_email

    Raises:
        InvalidValueError: It is no e-mail address.
    """
    if isinstance(value, str):
        email = value.strip()
        if not email:
            return None
        if is_plain_email(email) or _is_valid(email):
            return email
        what = "is not a valid e-mail address" if "@" in email else "has no '@'"
        raise InvalidValueError(RejectionCode.INVALID_EMAIL, what)
    if value is None:
        return None
    raise InvalidValueError(
        RejectionCode.INVALID_EMAIL, "is not a text, so it is no e-mail address"
    )


def _is_valid(email: str) -> bool:
    # Most runs need it for few addresses or none, and it takes a while to load.
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415

    try:
        validate_email(
            email, check_deliverability=False, allow_quoted_local=True, test_environment=True
        )
    except EmailNotValidError:
        return False
    return True
