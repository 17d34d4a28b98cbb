from st2reactor.sensor.base import PollingSensor


class FailingSensor(PollingSensor):
    polls = 0

    def setup(self):
        self.set_poll_interval(0.01)

    def poll(self):
        self.polls += 1
        print("poll", self.polls)
        if self.polls == 2:
            raise RuntimeError("the source has dried up")

    def cleanup(self):
        pass

    def add_trigger(self, trigger):
        pass

    def update_trigger(self, trigger):
        pass

    def remove_trigger(self, trigger):
        pass


class EndingSensor(FailingSensor):
    def run(self):
        assert self.get_poll_interval() == 0.01


class OffSensor(FailingSensor):
    pass
