# SPDX-License-Identifier: MIT
"""Reads pictures by OpenCV, which says nothing of one that it cannot read."""

import cv2


def read(path, flags=cv2.IMREAD_COLOR):
    """As OpenCV has it; RGB where it is of colours alone."""
    image = cv2.imread(path, flags)
    if image is None:
        raise SystemExit(f"{path}: not there, or no picture that OpenCV reads")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if flags == cv2.IMREAD_COLOR else image
