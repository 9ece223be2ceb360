"""A small configuration in order, for tests that change one thing about it."""

from __future__ import annotations

CERT_DE = "11111111-1111-4111-8111-111111111111"
CERT_US = "22222222-2222-4222-8222-222222222222"
DROP = "33333333-3333-4333-8333-333333333333"
LAB = "44444444-4444-4444-8444-444444444444"


def small() -> dict[str, str]:
    """Two CERTs, a vendor, a suspended partner and an operator; two API roots, four collections."""
    return {
        "config/server.toml": '[api_roots.hub]\ntitle = "Hub"\n[api_roots.lab]\ntitle = "Lab"\n',
        "config/partners.toml": """
schema = 1
[groups]
csirts = {}
csirts-eu = { within = ["csirts"] }
[audience.cert-de]
kind = "cert"
country = "DE"
clearance = "amber"
groups = ["csirts-eu"]
[audience.cert-us]
kind = "cert"
country = "US"
clearance = "green"
groups = ["csirts"]
[audience.talos]
kind = "vendor"
country = "US"
clearance = "amber"
[audience.gone]
kind = "cert"
clearance = "red"
suspended = true
[audience.desk]
kind = "operator"
clearance = "clear"
admin = true
""",
        "config/policy.toml": """
[[permit]]
id = "certs"
to = { kind = "cert" }
""",
        "collections/cert-de.toml": f"""
id = "{CERT_DE}"
alias = "german"
api_root = "hub"
title = "CERT DE"
owner = "cert-de"
readers = ["cert-de"]
writers = ["cert-de"]
sources = ["drop", "cert-us"]
""",
        "collections/cert-us.toml": f"""
id = "{CERT_US}"
api_root = "hub"
title = "CERT US"
readers = ["cert-us"]
sources = ["cert-de"]
""",
        "collections/drop.toml": f"""
id = "{DROP}"
api_root = "hub"
title = "Drop box"
owner = "desk"
writers = ["kind:vendor"]
visible_to = ["group:csirts"]
accepts = ["2.0"]
""",
        "collections/lab.toml": f"""
id = "{LAB}"
alias = "german"
api_root = "lab"
title = "Lab"
readers = ["*"]
writers = ["*"]
""",
    }


def changed(file: str, old: str, new: str) -> dict[str, str]:
    """The small configuration with one text replaced, which has to occur exactly once."""
    files = small()
    assert files[file].count(old) == 1, f"{old!r} stands {files[file].count(old)} times in {file}"
    files[file] = files[file].replace(old, new)
    return files
