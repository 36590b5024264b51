"""Windows as they would have been measured with the watch turned a little on the wrist.

Six people are few. A network sees more of what others may do if every epoch shows it other turns.
"""

import numpy as np


def turned(x: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """Windows as a watch would have measured them that sits a little differently.

    Args:
        x: windows (N, time, 6).
        degrees: standard deviation of the angle by which each window is turned, about an axis of its own.
        rng: chooses axes and angles.

    Returns:
        float32 (N, time, 6).
    """
    axes = rng.normal(size=(len(x), 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    angles = np.radians(rng.normal(0, degrees, len(x)))[:, np.newaxis, np.newaxis]
    # Rodrigues' formula: the turn about an axis, from the matrix that makes its cross products
    crossed = np.cross(axes[:, np.newaxis], np.eye(3))
    turns = np.eye(3) + np.sin(angles) * crossed + (1 - np.cos(angles)) * crossed @ crossed
    return np.concatenate([x[..., :3] @ turns, x[..., 3:] @ turns], axis=2).astype(np.float32)
