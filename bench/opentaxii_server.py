"""OpenTAXII with one collection and one user: `python opentaxii_server.py FOLDER USER SECRET PORT`.

With port 0 it makes both and adds the objects of stdin, a JSON list in each line, instead of serving.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

CONFIG = """
support_basic_auth: yes
auth_api:
  class: opentaxii.auth.sqldb.SQLDatabaseAPI
  parameters: {{db_connection: "sqlite:///{folder}/auth.db", create_tables: yes, secret: of-the-bench}}
taxii1:
taxii2:
  persistence_api:
    class: opentaxii.persistence.sqldb.Taxii2SQLDatabaseAPI
    parameters: {{db_connection: "sqlite:///{folder}/data.db", create_tables: yes}}
  title: OpenTAXII
  public_discovery: true
  max_content_length: 104857600
logging: {{opentaxii: error, root: error}}
"""


def main(folder: str, user: str, secret: str, port: str) -> None:
    config = Path(folder, "opentaxii.yml")
    config.write_text(CONFIG.format(folder=folder))
    os.environ["OPENTAXII_CONFIG"] = str(config)
    from opentaxii.config import ServerConfig
    from opentaxii.middleware import create_app
    from opentaxii.server import TAXIIServer

    server = TAXIIServer(ServerConfig(optional_env_var="OPENTAXII_CONFIG"))
    app = create_app(server)
    if port != "0":
        app.run(host="127.0.0.1", port=int(port), threaded=True)
        return
    api = server.servers.taxii2.persistence.api
    with app.app_context():
        root = api.add_api_root(title="Root", description="", default=True)
        collection = api.add_collection(root.id, "All", description="", is_public=True)
        server.auth.api.create_account(user, secret, is_admin=True)
        Path(folder, "made.json").write_text(json.dumps({"root": str(root.id), "collection": str(collection.id)}))
        for line in sys.stdin:
            api.add_objects(root.id, collection.id, json.loads(line))


if __name__ == "__main__":
    main(*sys.argv[1:])
