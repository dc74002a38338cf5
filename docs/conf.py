"""Configuration of the documentation build."""

import os

from yoto_sc import __version__

project = "yoto_sc"
author = "the yoto_sc developers"
project_copyright = f"2026, {author}"
release = version = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
nitpicky = False

# Pages written by hand and the docstrings
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
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

# Links to the documentation of other packages need their inventories, fetched at build time.
# A failed fetch is a warning that sphinx gives no name to suppress by, and so, with -W, a failed
# build. Hence the links are asked for, where there is a network; the build works without them.
if os.environ.get("YOTO_DOCS_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "anndata": ("https://anndata.readthedocs.io/en/stable/", None),
        "lightning": ("https://lightning.ai/docs/pytorch/stable/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "pandas": ("https://pandas.pydata.org/docs/", None),
        "python": ("https://docs.python.org/3/", None),
        "scanpy": ("https://scanpy.readthedocs.io/en/stable/", None),
        "scipy": ("https://docs.scipy.org/doc/scipy/", None),
        "scvi-tools": ("https://docs.scvi-tools.org/en/stable/", None),
        "torch": ("https://docs.pytorch.org/docs/stable/", None),
    }

html_theme = "sphinx_book_theme"
html_title = "yoto_sc"
html_theme_options = {"show_navbar_depth": 2}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
