"""How methods and settings are written for readers, in the order in which they are shown."""

METHOD_NAMES = {
    "yoto": "yoto_sc",
    "yoto_prefix64": "yoto_sc, prefix of 64",
    "yoto_published": "yoto_sc, as published",
    "stepwise": "stepwise discriminant",
    "l1_logistic": "L1 logistic regression",
    "wilcoxon": "Wilcoxon markers",
    "t_test": "t-test markers",
    "forest": "forest importance",
    "highly_variable": "highly variable",
    "random": "random",
    "spapros": "Spapros",
    "markermap": "MarkerMap",
    "lassonet": "LassoNet",
    "nsforest": "NS-Forest",
    "activesvc": "ActiveSVC",
}
SHORT_NAMES = METHOD_NAMES | {
    "stepwise": "stepwise",
    "l1_logistic": "L1",
    "wilcoxon": "Wilcoxon",
    "t_test": "t-test",
    "forest": "forest",
}
OURS = ("yoto", "yoto_prefix64", "yoto_published")
SETTING_NAMES = {
    "cells": "A quarter of the cells held out",
    "groups": "A quarter of the donors or plates held out",
    "cells400": "The same held-out cells, 400 cells to train on",
}
