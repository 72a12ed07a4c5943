"""What the fit of a crop is told beside the crop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from smlm_dask.check import choice, flag, number
from smlm_dask.errors import ParameterError
from smlm_dask.kernels.likelihood import FIXED, FREE, PRIOR

__all__ = ["METHODS", "CropFit"]

KNOWN = {"prior": PRIOR, "fixed": FIXED, "free": FREE}


@dataclass(frozen=True, kw_only=True)
class CropFit:
    """How ``integrate_photons`` fits photons and background of a crop.

    Attributes
    ----------
    background : "prior", "fixed" or "free"
        ``prior``: the background is known within its error, and the crop has its say. ``fixed``: it
        stays as it is, and its error only widens that of the photons. ``free``: the crop alone decides;
        none need be given, crops must be 9 x 9 or larger, and the photons are 1 to 11 % noisier at
        11 x 11.
    background_error : float
        Standard deviation of the background that is given, in units of the noise of one pixel in one
        frame; 0 where it is known exactly. A column ``background_error`` (photon / pix) of the table
        comes before it, and the ``series_error`` of a background.
    position_error : float
        Standard deviation of the positions along each axis, nm: the PSF is widened by it. 0 where the
        PSF's width was measured on these very positions. A column ``position_error`` of the table comes
        before it.
    robust : bool
        Whether pixels more than 3.5 standard deviations above the fit are left out, 6 times: against
        neighbours, at 2.5 times the cost and 0.3 % more noise.
    neighbours : "none" or "joint"
        ``joint``: emitters of the table that are in the crop or within two pixels of it are fitted with
        its own. Not with ``robust``.
    read_noise : float
        Electrons, for a camera without ``variance``.
    """

    background: Literal["prior", "fixed", "free"] = "prior"
    background_error: float = 0.05
    position_error: float = 0.0
    robust: bool = False
    neighbours: Literal["none", "joint"] = "none"
    read_noise: float = 1.4

    def __post_init__(self) -> None:
        choice("CropFit.background", self.background, tuple(KNOWN))
        flag("CropFit.robust", self.robust)
        choice("CropFit.neighbours", self.neighbours, ("none", "joint"))
        if self.robust and self.neighbours == "joint":
            raise ParameterError(
                "CropFit.robust",
                got="True, with neighbours fitted jointly",
                wanted="one of the two: what is left out cannot be fitted",
                fix="CropFit(robust=True) for neighbours that are not in the table",
            )
        for name in ("background_error", "position_error", "read_noise"):
            number(f"CropFit.{name}", getattr(self, name), at_least=0, fix="CropFit()")


METHODS = {
    "map": CropFit(),
    "fixed": CropFit(background="fixed"),
    "free": CropFit(background="free"),
}
