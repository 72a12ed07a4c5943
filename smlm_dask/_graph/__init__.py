"""The only room that calls dask.array: it places kernels on chunks and knows no physics.

Every array made here has a numpy meta, a name that starts with its kernel's name (what the dashboard
shows) and ends with a token of everything that decides its values, and one task per block.
"""

from smlm_dask._graph.arrays import (
    Array,
    apply,
    blocks,
    chunk_bytes,
    copy_into,
    each,
    even,
    from_array,
    gaps,
    identity,
    is_lazy,
    is_sized,
    joined,
    movie_data,
    origins,
    ratio,
)
from smlm_dask._graph.emitters import column, emitter_map
from smlm_dask._graph.frames import (
    cut_like,
    every_frame,
    frame_map,
    frame_reduce,
    one_image_each,
    whole_frames,
)
from smlm_dask._graph.passes import second_pass, shares_source
from smlm_dask._graph.plan import Forecast, forecast
from smlm_dask._graph.reduce import finish, folded, group_totals, scatter, total, whole
from smlm_dask._graph.series import Series, series_map
from smlm_dask._graph.stream import stream_passes, stream_selection
from smlm_dask._graph.windows import (
    between_windows,
    neighbour_map,
    picked_map,
    spectrum_map,
    whole_window_map,
    window_map,
    window_numbers,
)
from smlm_dask._graph.write import Job, write

__all__ = [
    "Array",
    "Forecast",
    "Job",
    "Series",
    "apply",
    "between_windows",
    "blocks",
    "chunk_bytes",
    "column",
    "copy_into",
    "cut_like",
    "each",
    "emitter_map",
    "even",
    "every_frame",
    "finish",
    "folded",
    "forecast",
    "frame_map",
    "frame_reduce",
    "from_array",
    "gaps",
    "group_totals",
    "identity",
    "is_lazy",
    "is_sized",
    "joined",
    "movie_data",
    "neighbour_map",
    "one_image_each",
    "origins",
    "picked_map",
    "ratio",
    "scatter",
    "second_pass",
    "series_map",
    "shares_source",
    "spectrum_map",
    "stream_passes",
    "stream_selection",
    "total",
    "whole",
    "whole_frames",
    "whole_window_map",
    "window_map",
    "window_numbers",
    "write",
]
