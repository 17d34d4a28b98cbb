from st2common.runners.base_action import Action


class Answers(Action):
    def run(self):
        return "an answer"
