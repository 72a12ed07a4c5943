"""Why a result is NaN: one code for each reason, the same in every block."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Reason"]


class Reason(IntEnum):
    """Codes of the ``status`` variable; 0 is an answer, everything else a NaN with its reason."""

    OK = 0
    NO_FULL_WINDOW = 1
    CONSTANT_SIGNAL = 2
    TOO_FEW_BINS = 3
    SLOPE_NOT_POSITIVE = 4
    NOT_FINITE = 5
    FIT_FAILED = 6
    CROP_LEAVES_FRAME = 7
    FRAME_NOT_IN_MOVIE = 8
    NO_OVERLAP_WITH_PSF = 9
