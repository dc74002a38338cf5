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
VARIANT_NAMES = {
    "variant_default": "the default, trained once",
    "variant_start_only": "scores stay as they started",
    "variant_fast_scores": "scores learn at the rate 0.005",
    "variant_fixed_size": "a mask of k genes throughout",
    "variant_one_member": "one member",
    "variant_encoder_selects": "the encoder selects",
    "variant_plackett_luce": "Plackett–Luce relaxation with noise",
    "variant_whole_panel": "refined on the whole panel only",
    "variant_no_dropout": "no dropout (since left out)",
    "variant_little_decay": "a tenth of the weight decay",
    "variant_narrow_encoder": "16 hidden units in place of 64",
    "variant_cells_alike": "cells weighted alike",
    "variant_half_the_steps": "1,000 steps",
    "variant_twice_the_steps": "4,000 steps",
}
