"""The simulation, said in plain Python: one pixel, one emitter, one frame at a time."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erf
from scipy.stats import poisson

PLACE, BLINK, NOISE, REGISTER, LIGHT, SENSOR = range(1, 7)


def philox(counter, key):
    """Philox4x32-10 as Salmon et al. 2011 print it."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b % 2**32, (a >> 32) ^ c[3] ^ k[1], a % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


def uniforms(a, b, c, purpose, field):
    words = philox((a % 2**32, b % 2**32, c % 2**32, purpose), (field.key_0, field.key_1))
    return [(w + 0.5) / 2**32 for w in words]


def normal(u, v):
    return math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v)


def is_on(emitter, frame, molecules, field):
    """State of the chain: known at far-apart frames, then halved."""
    on, off = molecules.on_frames, molecules.off_frames
    share, rho = on / (on + off), 1 - 1 / on - 1 / off
    far = 1
    while abs(rho) ** far > 2**-53:
        far *= 2
    chance = uniforms(emitter, frame, frame >> 32, BLINK, field)[0]
    if frame % far == 0:
        return chance < share
    half = frame & -frame
    before = is_on(emitter, frame - half, molecules, field)
    after = is_on(emitter, frame + half, molecules, field)

    def step(i, j):
        to_on = share + (i - share) * rho**half
        return to_on if j else 1 - to_on

    on_path = step(before, 1) * step(1, after)
    off_path = step(before, 0) * step(0, after)
    return chance < on_path / (on_path + off_path)


def lamp(frame, scene):
    u, v, _, _ = uniforms(frame, 0, 0, LIGHT, scene.field)
    return max(0.0, 1 + scene.glow.flicker * normal(u, v))


def expected(frame, scene):
    """Expected photons of one frame, upright emitters in focus."""
    field, molecules, glow = scene.field, scene.molecules, scene.glow
    h, w = field.height, field.width
    u, v = np.linspace(-1, 1, w)[None], np.linspace(-1, 1, h)[:, None]
    image = glow.background * (1 + glow.gradient * u + glow.blob * np.exp(-(u**2 + v**2) / 0.18))
    image = image * lamp(frame, scene) * math.exp(-frame / glow.bleaching_frames)
    for emitter in range(molecules.number):
        place = uniforms(emitter, 0, 0, PLACE, field)
        dead = -molecules.bleaching_frames * math.log(place[3])
        if frame >= dead or not is_on(emitter, frame, molecules, field):
            continue
        y = place[0] * h - 0.5 + molecules.drift_y * frame / field.pixel_y
        x = place[1] * w - 0.5 + molecules.drift_x * frame / field.pixel_x
        chance = uniforms(emitter, frame, 0, BLINK, field)[1]
        photons = -molecules.photons * math.log(chance) * lamp(frame, scene)
        parts = bell(np.arange(h), y, molecules.sigma_y / field.pixel_y)
        across = bell(np.arange(w), x, molecules.sigma_x / field.pixel_x)
        image = image + photons * parts[:, None] * across[None, :]
    return image


def bell(pixels, at, sigma):
    edges = erf((pixels[:, None] + [-0.5, 0.5] - at) / (math.sqrt(2) * sigma)) / 2
    return edges[:, 1] - edges[:, 0]


def electrons(mean, pixel, frame, field):
    """Poisson: inverse distribution function below 10, Hoermann's PTRS from there."""
    u, v, _, _ = uniforms(pixel, frame, 0, NOISE, field)
    if mean < 10:
        return poisson.ppf(u, mean)
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    trial = 0
    while True:
        us = 0.5 - abs(u - 0.5)
        k = math.floor((2 * a / us + b) * (u - 0.5) + mean + 0.43)
        if us >= 0.07 and v <= 0.9277 - 3.6224 / (b - 2):
            return k
        if k >= 0 and not (us < 0.013 and v > us):
            left = math.log(v * (1.1239 + 1.1328 / (b - 3.4)) / (a / us**2 + b))
            if left <= k * math.log(mean) - mean - math.lgamma(k + 1):
                return k
        trial += 1
        u, v, _, _ = uniforms(pixel, frame, trial, NOISE, field)


def multiplied(count, gain, pixel, frame, field):
    """Gamma of shape ``count`` by Marsaglia and Tsang."""
    d = count - 1 / 3
    for trial in range(100):
        a, b, u, _ = uniforms(pixel, frame, trial, REGISTER, field)
        x = normal(a, b)
        v = (1 + x / math.sqrt(9 * d)) ** 3
        if v > 0 and math.log(u) < x * x / 2 + d - d * v + d * math.log(v):
            return d * v * gain
    raise AssertionError("a hundred rejections in a row")


def adu(photons, y, x, frame, scene):
    """One pixel of one raw frame."""
    field, sensor, pixel = scene.field, scene.sensor, (y << 16) + x
    a, b, hot, _ = uniforms(pixel, 0, 0, SENSOR, field)
    c, d, _, _ = uniforms(pixel, 0, 1, SENSOR, field)
    offset = np.float32(sensor.offset + sensor.offset_spread * normal(a, b))
    gain = sensor.gain * max(0.1, 1 + sensor.gain_spread * normal(c, d))
    read = sensor.hot_noise if hot < sensor.hot_fraction else sensor.read_noise
    count = electrons(photons * sensor.quantum_efficiency, pixel, frame, field)
    if sensor.em_gain and count:
        count = multiplied(count, sensor.em_gain, pixel, frame, field)
    _, _, p, q = uniforms(pixel, frame, 0, NOISE, field)
    noise = np.float32(read / gain) * normal(p, q)
    level = float(count) / float(np.float32(gain)) + float(offset) + float(noise)
    return min(max(round(level), 0), 65535)


def movie(frames, scene):
    """Raw frames: shape (frame, y, x)."""
    h, w = scene.field.height, scene.field.width
    out = np.empty((len(frames), h, w), np.uint16)
    for f, frame in enumerate(frames):
        photons = expected(frame, scene)
        out[f] = [[adu(photons[y, x], y, x, frame, scene) for x in range(w)] for y in range(h)]
    return out
