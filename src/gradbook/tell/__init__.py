"""What a case, a step, a change, a method and an effect are, told once in words and rows for whoever lays them out."""
