"""How a run ended, in sentences without personal data."""

from __future__ import annotations

import traceback
from pathlib import Path

from singer_sdk.exceptions import MappingError as StreamMapError
from singer_sdk.exceptions import SingerSDKError

from target_mainbrainer.errors import SettingsError, TargetMainBrainerError


def explain(error: BaseException) -> list[str]:
    """Say how a run ended, without personal data and without a traceback for a user's mistake.

    The text of an unexpected error may hold anything, so only its kind and place are told.
    """
    if isinstance(error, SettingsError):
        return error.errors
    if isinstance(error, StreamMapError) and not isinstance(error, TargetMainBrainerError):
        return [f"Setting 'stream_maps' cannot be applied. {error}"]
    if isinstance(error, TargetMainBrainerError | SingerSDKError):
        return [str(error)]
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames]
    return [
        (
            f"Unexpected {type(error).__name__}. This is a fault of target-mainbrainer; please "
            f"report it with these places: {' > '.join(places)}"
        )
    ]
