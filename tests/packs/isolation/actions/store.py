from st2common.runners.base_action import Action


class Store(Action):
    def run(self, name, value):
        before = self.action_service.get_value(name)
        self.action_service.set_value(name, value, ttl=60, encrypt=True)
        self.action_service.set_value("shared", value, local=False)
        found = {
            "before": before,
            "cipher": self.action_service.get_value(name),
            "plain": self.action_service.get_value(name, decrypt=True),
            "names": [pair.name for pair in self.action_service.list_values()],
            "user": self.action_service.get_user_info()["username"],
        }
        found["deleted"] = [self.action_service.delete_value(name), self.action_service.delete_value(name)]
        return found
