"""What is asked of a panel: which genes may, which must, and how much there may be in all."""

from yoto_sc.rules._gene_rules import Cap, GeneRules, check_n_genes
from yoto_sc.rules._limits import limit_expression
from yoto_sc.rules._platforms import PLATFORMS, platform_rules, with_platform
from yoto_sc.rules._redundancy import Classes
from yoto_sc.rules._requirements import Requirements, detection_floor, excluded_genes

__all__ = [
    "PLATFORMS",
    "Cap",
    "Classes",
    "GeneRules",
    "Requirements",
    "check_n_genes",
    "detection_floor",
    "excluded_genes",
    "limit_expression",
    "platform_rules",
    "with_platform",
]
