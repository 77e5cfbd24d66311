"""The error tree tells the SDK, and us, what to do next."""

import pytest
from singer_sdk.exceptions import ConfigurationError, FatalAPIError, RetriableAPIError

from target_mainbrainer import errors


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (errors.AuthError, FatalAPIError),
        (errors.RequestRefusedError, FatalAPIError),
        (errors.ProtocolError, FatalAPIError),
        (errors.TransientError, RetriableAPIError),
        (errors.SettingsError, ConfigurationError),
        (errors.MappingError, ConfigurationError),
    ],
)
def test_the_tree_speaks_the_sdks_language(ours: type[Exception], theirs: type[Exception]) -> None:
    assert issubclass(ours, theirs)
    assert issubclass(ours, errors.TargetMainBrainerError)


def test_a_settings_error_reads_as_sentences() -> None:
    error = errors.SettingsError(["Setting 'a' is missing.", "Setting 'b' is not a number."])
    assert str(error) == "Setting 'a' is missing. Setting 'b' is not a number."
