from tests.world import FT6, MT, RW, World


def test_a_post_is_read_back(hub: World) -> None:
    answer = hub.post(FT6)
    assert answer.status_code == 202, answer.text
    assert answer.json["success_count"] == 6, answer.json
    assert [o["name"] for o in hub.objects()] == ["A5", "B"]
    assert [o["name"] for o in hub.objects(query="?match[version]=all&limit=10")] == ["A1", "A2", "A3", "A4", "A5", "B"]
    assert [o["name"] for o in hub.walk(query="match[version]=all", limit=2)] == ["A1", "A2", "A3", "A4", "A5", "B"]
    assert hub.get("/taxii2/").content_type == MT
