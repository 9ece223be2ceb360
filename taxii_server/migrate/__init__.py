"""Moving in: what another TAXII server holds, read from its files or database, and brought into this hub.

old.py                       what an old server is, whatever it was made with
medallion.py medallion_file.py medallion_mongo.py      medallion 3
opentaxii.py                 OpenTAXII, its TAXII 2.1 half
names.py configuration.py    partners, collections and rules that give the same access as before
places.py moving.py          the objects, each at its old place, through everything that a POST goes through
losses.py report.py          what did not come along, and who does not see what it saw
"""
