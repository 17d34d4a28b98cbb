"""Source becomes an image: what an ImageBuild asks for, where its source is, which images to build,
and who builds.
"""
