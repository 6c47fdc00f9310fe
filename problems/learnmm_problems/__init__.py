"""Problems to plug into learnmm."""
