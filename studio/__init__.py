"""The studio: performs pieces, keeps takes, shows and words them, and lets an audience steer."""
