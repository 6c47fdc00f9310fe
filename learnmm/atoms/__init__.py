"""Objectives that know their majorants."""

from learnmm.atoms.activations import SoftReLU
from learnmm.atoms.angles import Cosine, cosine
from learnmm.atoms.autoencoder import AutoencoderBound, AutoencoderPrior
from learnmm.atoms.base import Atom, Composed, Scaled, Sum, brought
from learnmm.atoms.cosine_distance import CosineBound, CosineDistance
from learnmm.atoms.losses import Loss
from learnmm.atoms.magnitudes import Magnitudes
from learnmm.atoms.separable import HalfQuadratic, Logistic, Quadratic, least_squares
from learnmm.atoms.smoother import LinearSmootherPrior, SmootherBound
from learnmm.atoms.softmax import CenteredCurvature, Softmax

__all__ = [
    "Atom",
    "AutoencoderBound",
    "AutoencoderPrior",
    "CenteredCurvature",
    "Composed",
    "Cosine",
    "CosineBound",
    "CosineDistance",
    "HalfQuadratic",
    "LinearSmootherPrior",
    "Logistic",
    "Loss",
    "Magnitudes",
    "Quadratic",
    "Scaled",
    "SmootherBound",
    "SoftReLU",
    "Softmax",
    "Sum",
    "brought",
    "cosine",
    "least_squares",
]
