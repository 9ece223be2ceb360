"""The real OpenTAXII: `python opentaxii_server.py FOLDER PORT` serves FOLDER/data.db, made and filled by its own API.

Run with an interpreter that has it (peers.py). FOLDER/made.json then has the ids of what was made; a folder that has
one is served as it is. With port 0 it posts through its persistence API in place of serving: the JSON texts of objects,
one POST in each line of stdin. The bench measures it too.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

CONFIG = """
support_basic_auth: yes
return_server_error_details: yes
auth_api:
  class: opentaxii.auth.sqldb.SQLDatabaseAPI
  parameters: {{db_connection: "sqlite:///{folder}/auth.db", create_tables: yes, secret: of-the-tests}}
taxii1:
taxii2:
  persistence_api:
    class: opentaxii.persistence.sqldb.Taxii2SQLDatabaseAPI
    parameters: {{db_connection: "sqlite:///{folder}/data.db", create_tables: yes}}
  title: Old OpenTAXII
  public_discovery: true
  max_content_length: 1048576
logging: {{opentaxii: error, root: error}}
"""
#: title, alias, public
COLLECTIONS = (("Indicators", "indicators", False), ("Open", None, True), ("Closed", None, False))


def make(server: Any, api: Any, *, has_permissions: bool) -> dict[str, Any]:
    """An API root with the collections, and accounts. The release does not take permissions of TAXII 2.1."""
    root = api.add_api_root(title="Trust group", description="of malware researchers", default=True)
    collections = [
        api.add_collection(root.id, title, description=f"about {title}", alias=alias, is_public=public)
        for title, alias, public in COLLECTIONS
    ]
    server.auth.api.create_account("admin", "a secret of admin", is_admin=True)
    alice = server.auth.api.create_account("alice", "a secret of alice")
    server.auth.api.create_account("bob", "a secret of bob")
    if has_permissions:
        alice.permissions = {str(collections[0].id): ["read", "write"]}
        server.auth.api.update_account(alice)
    return {"root": str(root.id), "collections": [str(each.id) for each in collections]}


def main(folder: str, port: str) -> None:
    config = Path(folder, "opentaxii.yml")
    config.write_text(CONFIG.format(folder=folder))
    os.environ["OPENTAXII_CONFIG"] = str(config)
    from opentaxii.config import ServerConfig
    from opentaxii.middleware import create_app
    from opentaxii.server import TAXIIServer

    server = TAXIIServer(ServerConfig(optional_env_var="OPENTAXII_CONFIG"))
    app = create_app(server)
    api = server.servers.taxii2.persistence.api
    ids = Path(folder, "made.json")
    with app.app_context():
        if not ids.exists():
            ids.write_text(json.dumps(make(server, api, has_permissions=port != "0")))
        made = json.loads(ids.read_text())
        if port == "0":
            for line in sys.stdin:
                api.add_objects(made["root"], made["collections"][0], json.loads(line))
            return
    app.run(host="127.0.0.1", port=int(port), threaded=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
