"""Why a result is NaN: one code for each reason, the same in every block."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Reason"]


class Reason(IntEnum):
    """Codes of the ``status`` variable; 0 is an answer, everything else a NaN with its reason."""

    OK = 0
    CONSTANT_SIGNAL = 1
    TOO_FEW_BINS = 2
    SLOPE_NOT_POSITIVE = 3
    NOT_FINITE = 4
    FIT_FAILED = 5
    CROP_LEAVES_FRAME = 6
    NO_OVERLAP_WITH_PSF = 7
    NO_GAIN = 8
    NO_PSF = 9
    TOO_FEW_FRAMES = 10
    NOT_SIGNIFICANT = 11
