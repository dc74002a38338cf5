"""Configuration of the documentation build."""

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

from yoto_sc import __version__

project = "yoto_sc"
author = "the yoto_sc developers"
project_copyright = f"2026, {author}"
release = version = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
nitpicky = True

# Pages written by hand and the docstrings
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
smartquotes_action = "De"  # dashes and ellipses; quotes must stay those of adata.obs["key"]
nb_execution_mode = "off"  # `make tutorials` runs the notebooks; the build only renders them

autosummary_generate = True
autodoc_member_order = "bysource"
# Types stand in the signatures alone, and are put into the parameter lists from there.
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_rtype = False
# Section titles of ours that napoleon does not know: what a verb writes to the object.
napoleon_custom_sections = [("Sets the following fields", "notes_style")]

# Links to other packages. Each inventory here lists only what these pages link to, in the plain
# text of inventory version 1, so that the build needs no network; a new link needs a line there.
intersphinx_mapping = {
    name: (url, f"_inventories/{name}.inv")
    for name, url in {
        "anndata": "https://anndata.readthedocs.io/en/stable/",
        "joblib": "https://joblib.readthedocs.io/en/stable/",
        "lightning": "https://lightning.ai/docs/pytorch/stable/",
        "matplotlib": "https://matplotlib.org/stable/",
        "numpy": "https://numpy.org/doc/stable/",
        "pandas": "https://pandas.pydata.org/docs/",
        "python": "https://docs.python.org/3/",
        "scanpy": "https://scanpy.readthedocs.io/en/stable/",
        "scipy": "https://docs.scipy.org/doc/scipy/",
        "scvi-tools": "https://docs.scvi-tools.org/en/stable/",
        "sklearn": "https://scikit-learn.org/stable/",
        "torch": "https://docs.pytorch.org/docs/stable/",
    }.items()
}

# Annotations name some classes as the sources import them; here is where they are documented.
QUALIFIED_NAMES = {
    "AnnData": "anndata.AnnData",
    "Axes": "matplotlib.axes.Axes",
    "Any": "typing.Any",
    "Literal": "typing.Literal",
    "Mapping": "collections.abc.Mapping",
    "NDArray": "numpy.ndarray",
    "Path": "pathlib.Path",
    "Sequence": "collections.abc.Sequence",
    "ad.AnnData": "anndata.AnnData",
    "lightning.pytorch.core.module.LightningModule": "lightning.pytorch.core.LightningModule",
    "pandas.core.frame.DataFrame": "pandas.DataFrame",
    "pd.DataFrame": "pandas.DataFrame",
    "scvi.model.base._base_model.BaseModelClass": "scvi.model.base.BaseModelClass",
    "scvi.module.base._base_module.BaseModuleClass": "scvi.module.base.BaseModuleClass",
    "yoto_sc._panel.Panel": "yoto_sc.Panel",
    "YOTOModule": "yoto_sc.model.YOTOModule",
    "yoto_sc.train.Recipe": "yoto_sc.model.Recipe",
    "yoto_sc.train._recipe.Recipe": "yoto_sc.model.Recipe",
    "yoto_sc.nn._schedules.Annealing": "yoto_sc.nn.Annealing",
}
# Inner parts have no page of their own; annotations name them with or without their module.
nitpick_ignore_regex = [
    ("py:class", r"np\.\w+"),
    ("py:class", r"yoto_sc\.(_problem|model|nn|train)\..+"),
    ("py:class", r"\w+"),
]


def resolve_qualified(app, env, node, contnode):
    """Look a name up under its full name: here, and next by intersphinx, which sees it too."""
    if node.get("reftarget") not in QUALIFIED_NAMES:
        return None
    node["reftarget"] = target = QUALIFIED_NAMES[node["reftarget"]]
    return env.domains["py"].resolve_xref(
        env, node["refdoc"], app.builder, node["reftype"], target, node, contnode
    )


def visit_math(translator, node):
    """Write an equation as MathML, which browsers show by themselves: MathJax is a download."""
    try:
        markup = tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block))
    except MathError as error:
        logging.getLogger(__name__).warning("%s", error, location=node)
        markup = translator.encode(node.astext())
    translator.body.append(markup)
    raise nodes.SkipNode


html_math_renderer = "mathml"


def setup(app):
    """Register both; names are to be looked up before intersphinx does."""
    app.connect("missing-reference", resolve_qualified, priority=400)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))


html_theme = "sphinx_book_theme"
html_title = "yoto_sc"
html_theme_options = {
    "navbar_persistent": [],  # the side bar has a search field already
    "show_navbar_depth": 1,
}
html_static_path = ["_static"]
html_css_files = ["custom.css"]

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
