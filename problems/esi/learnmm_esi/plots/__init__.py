"""Pictures of head models, activity and reconstructions."""
