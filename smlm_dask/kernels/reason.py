"""Why a result is NaN, and how good it is if it is not: the same codes in every block."""

from __future__ import annotations

from enum import IntEnum, IntFlag

__all__ = ["Quality", "Reason"]


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
    GAIN_UNCERTAIN = 12  # its error is above 4 %: too little data, or light that does not vary
    NOISE_NOT_WHITE = 13  # smoothed, resampled or denoised frames, or a PSF far below a pixel
    PSF_TOO_NARROW = 14  # emitters show where only noise should
    NOISE_BELOW_ROUNDING = 15  # less than half an adu rms
    CLIPPED = 16  # many samples are 0: the noise below is cut off
    TOO_FEW_PIXELS = 17  # of most of a crop the camera is not known
    EMITTERS_MOVE = 18  # light that changes its place, not its strength


class Quality(IntFlag):
    """Bits of the ``quality`` variable: what an answer is worth, in words."""

    ERROR_BELOW_1_PERCENT = 1
    ERROR_BELOW_2_5_PERCENT = 2
    ERROR_BELOW_5_PERCENT = 4
    PSF_LEAK_REMOVED = 8  # extrapolated from two filters: a narrow PSF, or very bright light
    SATURATED_LIGHT_LEFT_OUT = 16
