"""Says a greeting; fails for the name Nobody."""

from st2common.runners.base_action import Action


class Greet(Action):
    def run(self, name, password=None):
        if name == "Nobody":
            return False, "there is nobody to greet"
        return {"text": f"{self.config['greeting']}, {name}", "echo": password}
