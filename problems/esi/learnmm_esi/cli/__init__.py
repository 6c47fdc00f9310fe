"""The command ``learnmm-esi``."""
