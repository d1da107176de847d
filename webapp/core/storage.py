"""Where static files are served from; named in the settings."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage

# What our own modules write. Django's patterns for this (support_js_module_import_aggregation) also
# read the files of installed packages, some of which import what they do not ship.
_IMPORT = r'(?P<matched>\b(?P<how>from|import) "(?P<url>\./[\w./-]+\.js)")'


class StaticStorage(CompressedManifestStaticFilesStorage):
    """Names with a hash, also of what a JavaScript module imports.

    A module is loaded by the name that stands in its importer. Without a hash in that name, a
    browser would go on with the old module after an update of the server.
    """

    patterns = (
        *CompressedManifestStaticFilesStorage.patterns,
        ("js/*.js", ((_IMPORT, '%(how)s "%(url)s"'),)),
    )
