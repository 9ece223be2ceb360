"""The demo: the main job on example data, through a real server and a real client."""
