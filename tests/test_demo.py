"""The demo: real input, no seams, a picture."""

import numpy as np
from volumes import read

from daskpatch.demo import denoise, run_demo


def test_the_demo_has_no_seams_and_draws(tmp_path):
    result = run_demo(tmp_path / "demo", progress=False)
    assert result.difference < 1e-3
    assert result.tiles > 20
    noisy, denoised = read(result.noisy), read(result.denoised)
    assert noisy.shape == denoised.shape == (660, 550)
    assert np.std(np.diff(denoised)) < 0.5 * np.std(np.diff(noisy.astype("f4")))
    picture = (tmp_path / "demo" / "demo.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 50_000


def test_the_demo_runs_again(tmp_path):
    first = run_demo(tmp_path / "demo", progress=False)
    assert run_demo(tmp_path / "demo", progress=False) == first


def test_the_denoiser_takes_batches():
    batch = np.random.default_rng(0).normal(100, 10, (2, 1, 20, 30)).astype("f4")
    assert denoise(batch).shape == batch.shape
