"""`default.json`, a team's build descriptor, from which an ImageBuild and Applications are made."""
