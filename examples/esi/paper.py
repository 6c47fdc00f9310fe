"""Table I of the MM-Net paper, as printed.

"Majorization-Minimization Networks for Inverse Problems: An Application to EEG Imaging", Table I:
2 000 test samples; LE in mm, AUC x 100, nMSE, PSNR in dB, TE in ms.
"""

from __future__ import annotations

from typing import NamedTuple


class PaperRow(NamedTuple):
    """One row: `trained_on` is None for the classical methods; parameters in millions."""

    tested_on: str
    trained_on: str | None
    method: str
    parameters: float | None
    le: float
    auc: float
    nmse: float
    psnr: float
    te: float


TABLE_I = (
    PaperRow("erp", None, "MNE", None, 21.06, 82.05, 0.02, 21.85, 2.72),
    PaperRow("erp", None, "sLORETA", None, 14.82, 86.75, 0.05, 18.29, 1.57),
    PaperRow("erp", "erp", "meta-curvature", 1.80, 10.22, 97.86, 0.01, 27.90, 0.72),
    PaperRow("erp", "erp", "modgrad", 1.34, 28.68, 69.12, 0.06, 21.54, 1.60),
    PaperRow("erp", "erp", "4dvarnet", 3.01, 9.17, 99.52, 0.01, 30.35, 1.04),
    PaperRow("erp", "erp", "r-mm-net", 2.95, 4.07, 99.86, 0.00, 37.81, 0.85),
    PaperRow("erp", "erp", "mm-net", 2.95, 3.92, 99.90, 0.00, 38.74, 0.79),
    PaperRow("erp", "nmm", "4dvarnet", 3.01, 20.68, 92.74, 0.02, 22.99, 1.62),
    PaperRow("erp", "nmm", "r-mm-net", 2.95, 17.88, 92.67, 0.01, 25.13, 1.55),
    PaperRow("erp", "nmm", "mm-net", 2.95, 16.74, 92.87, 0.01, 25.64, 1.47),
    PaperRow("nmm", None, "MNE", None, 19.15, 77.36, 0.02, 29.81, 185.00),
    PaperRow("nmm", None, "sLORETA", None, 14.67, 79.18, 0.04, 26.46, 165.36),
    PaperRow("nmm", "nmm", "meta-curvature", 2.05, 17.58, 84.08, 0.02, 30.39, 170.12),
    PaperRow("nmm", "nmm", "modgrad", 7.11, 38.03, 64.32, 0.02, 29.15, 196.32),
    PaperRow("nmm", "nmm", "4dvarnet", 3.01, 15.13, 80.32, 0.01, 32.68, 166.24),
    PaperRow("nmm", "nmm", "r-mm-net", 2.95, 10.33, 81.14, 0.01, 35.72, 142.56),
    PaperRow("nmm", "nmm", "mm-net", 2.95, 9.98, 82.41, 0.01, 35.81, 146.24),
    PaperRow("nmm", "erp", "4dvarnet", 3.01, 14.40, 74.97, 0.02, 30.23, 156.44),
    PaperRow("nmm", "erp", "r-mm-net", 2.95, 14.20, 74.47, 0.01, 33.25, 138.78),
    PaperRow("nmm", "erp", "mm-net", 2.95, 12.48, 75.03, 0.01, 33.72, 133.44),
)
